"""The settings of one run, typed and frozen, and the checks that need no network.

`ranges` checks keys, types and ranges. This file checks choices and combinations.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradlab.config import choices
from gradlab.config.choices import Component, component, pick
from gradlab.config.ranges import flatten, validate
from gradlab.errors import SettingsError, nearest

USUAL_LOSS = {"classification": "cross_entropy", "regression": "mse"}
"""The loss that a message proposes for a task."""
INITIAL = ("spectral_radius",)
"""Parameters of a network that only the initialisation uses."""
GROUPS = ("model", "data", "loss", "optim", "clip", "diagnose")
"""Groups with exactly one choice in a run; a run has any number of choices of `tracking`."""


@dataclass(frozen=True)
class ModelSettings:
    """The network: `depth` hidden layers of `width` units, and a linear map to the output.

    `reads` is the form of a sample: "flat", "image" or "sequence". Networks that read images or
    sequences need the shape of a sample.
    """

    component: Component
    depth: int
    width: int
    activation: Component
    init: Component
    init_gain: float | None
    norm: Component
    norm_position: str
    reads: str = "flat"


@dataclass(frozen=True)
class LossSettings:
    """A mean over the batch, times `scale`; `tasks` are the kinds of data that it accepts."""

    component: Component
    scale: float
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class TrainSettings:
    """`steps` optimiser steps on batches of `batch_size` samples."""

    steps: int
    batch_size: int
    dtype: str
    device: str
    check_gradients: bool


@dataclass(frozen=True)
class Settings:
    """One run; `flat` is its configuration with dotted keys, `every` is `record.every`.

    With `resume`, an unfinished run in the same folder is replaced.
    """

    # attributes: one for each section of the configuration.

    model: ModelSettings
    data: Component
    loss: LossSettings
    optim: Component
    clip: Component
    tracking: tuple[Component, ...]
    train: TrainSettings
    every: int
    seed: int
    flat: dict[str, Any]
    resume: bool = False

    @property
    def config_hash(self) -> str:
        """Return a hash of the settings that change the recorded rows."""
        ignored = ("tracking", "train.check_gradients", "diagnose")
        used = {key: v for key, v in self.flat.items() if not key.startswith(ignored)}
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]

    def stackable(self) -> "Settings":
        """Return the settings that all members of a stack share.

        Members may differ in seed, initialisation, clipping, learning rate and loss scale.
        """
        none = Component("", None, {})
        params = {k: v for k, v in self.model.component.params.items() if k not in INITIAL}
        network = replace(self.model.component, params=params)
        model = replace(self.model, component=network, init=none, init_gain=None)
        shared = {key: value for key, value in self.optim.params.items() if key != "lr"}
        optim = replace(self.optim, params=shared)
        return replace(
            self,
            model=model,
            optim=optim,
            loss=replace(self.loss, scale=1.0),
            clip=none,
            tracking=(),
            seed=0,
            flat={},
            resume=False,
        )


def from_config(
    config: Mapping[str, Any], name: str = "config", user_folders: Sequence[Path] = ()
) -> Settings:
    """Check a composed configuration and return it as typed settings.

    Args:
        config: plain nested mappings, composed from `conf/config.yaml`.
        name: the file in `conf/` that was composed.
        user_folders: folders of the user's choices.

    Returns:
        The settings of one run.

    Raises:
        SettingsError: a key or choice is unknown, a value has a wrong type or is out of range, or a
            combination is impossible. The message names the nearest valid choice.
    """
    defaults = choices.base(name)
    for group in GROUPS:
        section = config.get(group)
        if not isinstance(section, Mapping) or "name" not in section:
            raise SettingsError(
                f"{group} is missing; {nearest('', choices.names(group, user_folders))}"
            )
        defaults[group] = choices.load(group, str(section["name"]), user_folders)
    config = {**config, "tracking": config.get("tracking", {})}  # tracking=[] leaves no section
    defaults["tracking"] = {
        sink: choices.load_sink(sink, user_folders) for sink in config["tracking"]
    }
    config = validate(config, defaults)
    model, train, loss = config["model"], config["train"], config["loss"]
    settings = Settings(
        model=ModelSettings(
            component=component(model, without=(*choices.REQUIRED["model"], "reads")),
            depth=model["depth"],
            width=model["width"],
            activation=pick("model/activation", model["activation"], user_folders),
            init=pick("model/init", model["init"], user_folders),
            init_gain=model["init_gain"],
            norm=pick("model/norm", model["norm"], user_folders),
            norm_position=model["norm_position"],
            reads=model.get("reads", "flat"),
        ),
        data=component(config["data"]),
        loss=LossSettings(
            component(loss, without=choices.REQUIRED["loss"]), loss["scale"], tuple(loss["tasks"])
        ),
        optim=component(config["optim"]),
        clip=component(config["clip"]),
        tracking=tuple(
            component({"name": name, **section}) for name, section in config["tracking"].items()
        ),
        train=TrainSettings(**train),
        every=config["record"]["every"],
        seed=config["seed"],
        flat={
            **flatten({key: value for key, value in config.items() if key != "sweep"}),
            "tracking": _choice_of(list(config["tracking"])),
        },
        resume=config["sweep"]["resume"],
    )
    _check_combinations(settings)
    return settings


def check_data(settings: Settings, samples: int, task: str) -> None:
    """Raise SettingsError if the data cannot feed the run.

    Args:
        settings: the run.
        samples: the number of training samples.
        task: "classification" or "regression".
    """
    if settings.train.batch_size > samples:
        raise SettingsError(
            f"train.batch_size={settings.train.batch_size} is larger than the data: "
            f"{settings.data.name} has {samples} training samples"
        )
    if task not in settings.loss.tasks:
        fix = f": add loss={USUAL_LOSS[task]}" if task in USUAL_LOSS else ""
        raise SettingsError(
            f"loss={settings.loss.component.name} is for {' and '.join(settings.loss.tasks)}, but "
            f"data={settings.data.name} is a {task} task{fix}"
        )


def _choice_of(names: Sequence[str]) -> str:
    """Return the choice of a group as a user types it: none, wandb, or [wandb,tensorboard]."""
    return f"[{','.join(names)}]" if len(names) > 1 else "".join(names) or "none"


def _check_combinations(settings: Settings) -> None:
    model, train = settings.model, settings.train
    if model.norm.name == "batch" and train.batch_size < 2:
        raise SettingsError("model.norm=batch needs train.batch_size of at least 2, given 1")
    if model.init_gain is not None and "gain" not in model.init.params:
        raise SettingsError(f"model.init={model.init.name} has no gain: leave out model.init_gain")
