"""Typed, frozen settings of one run, and every check that can be made before anything is built.

A configuration is held against the files in `conf/` that it was composed from: each key must be
there, and have the type that its default has. Ranges and combinations follow.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradlab import choices
from gradlab.errors import SettingsError, nearest

GROUPS = ("model", "data", "loss", "optim", "clip", "tracking")
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Component:
    """A choice: its name, the dotted path of what it calls, and the keywords it passes."""

    name: str
    target: str | None
    params: dict[str, Any]

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the target with the component's keywords; `kwargs` win over them."""
        return locate(self.target or "")(*args, **{**self.params, **kwargs})


@dataclass(frozen=True)
class Model:
    """The network: `depth` hidden layers of `width` units, and one more linear map to the output."""

    component: Component
    depth: int
    width: int
    activation: Component
    init: Component
    init_gain: float | None
    norm: Component
    norm_position: str


@dataclass(frozen=True)
class Loss:
    """A mean over the batch, times `scale`; `tasks` are the kinds of data it is defined for."""

    component: Component
    scale: float
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Train:
    """`steps` updates on batches of `batch_size` samples."""

    steps: int
    batch_size: int
    dtype: str
    device: str


@dataclass(frozen=True)
class Settings:
    """One run. `flat` is the whole configuration with dotted keys; `every` the recording interval."""

    model: Model
    data: Component
    loss: Loss
    optim: Component
    clip: Component
    tracking: Component
    train: Train
    every: int
    seed: int
    flat: dict[str, Any]

    @property
    def config_hash(self) -> str:
        """Name what the run computes: equal for equal results, whatever the tracking."""
        kept = {key: v for key, v in self.flat.items() if key.split(".")[0] != "tracking"}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]

    def stackable(self) -> "Settings":
        """Return what members of one stack must share: all but seed, initialisation and clipping."""
        model = replace(self.model, init=Component("", None, {}), init_gain=None)
        none = Component("", None, {})
        return replace(self, model=model, clip=none, tracking=none, seed=0, flat={})


def from_config(config: Mapping[str, Any]) -> Settings:
    """Check a composed configuration and return it typed.

    Args:
        config: plain nested mappings, as composed from `conf/config.yaml`.

    Raises:
        SettingsError: an unknown key or choice, a wrong type, a value out of range, or an
            impossible combination; the message names the nearest valid choice.
    """
    defaults = choices.base()
    for group in GROUPS:
        section = config.get(group)
        if not isinstance(section, Mapping) or "name" not in section:
            raise SettingsError(f"{group} is missing; {nearest('', choices.names(group))}")
        defaults[group] = choices.load(group, str(section["name"]))
    flat = _checked(config, defaults)
    model, train, loss = config["model"], config["train"], config["loss"]
    settings = Settings(
        model=Model(
            component=_component(model, without=MODEL_KEYS),
            depth=model["depth"],
            width=model["width"],
            activation=pick("model/activation", model["activation"]),
            init=pick("model/init", model["init"]),
            init_gain=model["init_gain"],
            norm=pick("model/norm", model["norm"]),
            norm_position=model["norm_position"],
        ),
        data=_component(config["data"]),
        loss=Loss(_component(loss, without=("scale", "tasks")), loss["scale"], tuple(loss["tasks"])),
        optim=_component(config["optim"]),
        clip=_component(config["clip"]),
        tracking=_component(config["tracking"]),
        train=Train(train["steps"], train["batch_size"], train["dtype"], train["device"]),
        every=config["record"]["every"],
        seed=config["seed"],
        flat=flat,
    )
    _check_combinations(settings)
    return settings


def check_data(settings: Settings, samples: int, task: str) -> None:
    """Raise SettingsError if the data cannot feed the run.

    Args:
        settings: the run.
        samples: how many there are to train on.
        task: "classification" or "regression".
    """
    if settings.train.batch_size > samples:
        raise SettingsError(
            f"train.batch_size={settings.train.batch_size} is larger than the data: "
            f"{settings.data.name} has {samples} training samples"
        )
    if task not in settings.loss.tasks:
        raise SettingsError(
            f"loss={settings.loss.component.name} is for {' and '.join(settings.loss.tasks)}, but "
            f"data={settings.data.name} is a {task} set"
        )


def pick(group: str, name: str) -> Component:
    """Return a shipped choice, or, if the name has a dot, the class or function it leads to."""
    if "." in name:
        locate(name)
        return Component(name, name, {})
    return _component(choices.load(group, name))


def locate(path: str) -> Callable[..., Any]:
    """Import what a dotted path leads to.

    Raises:
        SettingsError: nothing callable is there.
    """
    from hydra.utils import get_object

    try:
        found = get_object(path)
    except Exception as error:  # what an import of somebody else's module raises is anyone's guess
        raise SettingsError(f"{path} cannot be imported: {str(error).splitlines()[0]}") from error
    if not callable(found):
        raise SettingsError(f"expected a class or a function, but {path} is a {type(found).__name__}")
    return found


MODEL_KEYS = ("depth", "width", "activation", "init", "init_gain", "norm", "norm_position")


def _component(section: Mapping[str, Any], without: tuple[str, ...] = ()) -> Component:
    reserved = ("name", "_target_", *without)
    params = {key: value for key, value in section.items() if key not in reserved}
    return Component(section["name"], section["_target_"], params)


def _checked(
    config: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Hold each key against its default; return them flat, a group's choice under its own name."""
    flat: dict[str, Any] = {}
    for key in defaults:
        if key not in config:
            raise SettingsError(f"{prefix}{key} is missing")
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if key not in defaults:
            valid = [f"{prefix}{name}" for name in defaults]
            raise SettingsError(f"{dotted} is not a key; {nearest(dotted, valid)}")
        if isinstance(defaults[key], Mapping):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{dotted} is a section, but was given {value!r}")
            flat |= _checked(value, defaults[key], f"{dotted}.")
        elif key == "name" and prefix:
            flat[prefix.rstrip(".")] = value
        elif key not in ("_target_", "tasks"):
            _check_value(dotted, value, defaults[key])
            flat[dotted] = value
    return flat


@dataclass(frozen=True)
class Rule:
    """What a value must be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(least: int) -> Rule:
    return Rule(f"a whole number of at least {least}", lambda v: _is_whole(v) and v >= least)


def _one_of(*valid: str) -> Rule:
    return Rule(f"one of {', '.join(valid)}", lambda v: v in valid)


POSITIVE = Rule("a number above 0", lambda v: _is_number(v) and v > 0)
NOT_NEGATIVE = Rule("a number of at least 0", lambda v: _is_number(v) and v >= 0)
DECAY = Rule("a number from 0 to below 1", lambda v: _is_number(v) and 0 <= v < 1)
SHARE = Rule("a number between 0 and 1", lambda v: _is_number(v) and 0 < v < 1)

RULES = {
    "seed": Rule("a whole number from 0 to 2^63 - 1", lambda v: _is_whole(v) and 0 <= v < 2**63),
    "depth": _whole(0),
    "width": _whole(1),
    "steps": _whole(1),
    "batch_size": _whole(1),
    "every": _whole(1),
    "init_gain": Rule("a number above 0, or null", lambda v: v is None or POSITIVE.holds(v)),
    "norm_position": _one_of("before", "after"),
    "dtype": _one_of(*DTYPES),
    "device": Rule(
        "cpu, cuda, cuda:N or auto",
        lambda v: isinstance(v, str) and re.fullmatch(r"cpu|cuda(:\d+)?|auto", v) is not None,
    ),
    "lr": POSITIVE,
    "momentum": DECAY,
    "alpha": DECAY,
    "weight_decay": NOT_NEGATIVE,
    "eps": NOT_NEGATIVE,
    "scale": POSITIVE,
    "max_norm": POSITIVE,
    "max_value": POSITIVE,
    "ratio": POSITIVE,
    "test_fraction": SHARE,
    "betas": Rule(
        "two numbers from 0 to below 1",
        lambda v: isinstance(v, list | tuple) and len(v) == 2 and all(map(DECAY.holds, v)),
    ),
}
"""Ranges by the last part of a key. A key that is not here must only have its default's type."""

TYPES: tuple[tuple[type, Rule], ...] = (
    (bool, Rule("true or false", lambda v: isinstance(v, bool))),
    (int, Rule("a whole number", _is_whole)),
    (float, Rule("a finite number", _is_number)),
    (str, Rule("a name", lambda v: isinstance(v, str))),
    (list, Rule("a list", lambda v: isinstance(v, list | tuple))),
)


def _check_value(key: str, value: Any, default: Any) -> None:
    by_type = next((rule for kind, rule in TYPES if isinstance(default, kind)), None)
    rule = RULES.get(key.rsplit(".", 1)[-1], by_type)
    if rule is not None and not rule.holds(value):
        given = "null" if value is None else value
        hint = ""
        if rule.expected.startswith("one of ") and isinstance(value, str):
            close = nearest(value, rule.expected.removeprefix("one of ").split(", "))
            hint = f"; {close}" if close.startswith("did") else ""
        raise SettingsError(f"{key}={given}: expected {rule.expected}{hint}")


def _check_combinations(settings: Settings) -> None:
    model, train = settings.model, settings.train
    if model.norm.name == "batch" and train.batch_size < 2:
        raise SettingsError("model.norm=batch needs train.batch_size of at least 2, given 1")
