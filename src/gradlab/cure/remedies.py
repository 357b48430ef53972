"""The remedies to try on a run: overrides that its findings propose, each with a reason."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import sqrt
from typing import Any

from gradlab.config import choices
from gradlab.config.ranges import DTYPES
from gradlab.diagnosis.finding import Finding

Config = Mapping[str, Any]
Proposals = Iterator[tuple[str, str]]
"""Pairs of overrides, separated by spaces, and the reason to try them."""


@dataclass(frozen=True)
class Remedy:
    """Overrides that are tried together.

    Attributes:
        overrides: the overrides; none for the unchanged run.
        reason: why they may help.
        pair: whether the remedy combines two others.
    """

    overrides: tuple[str, ...]
    reason: str = ""
    pair: bool = False

    @property
    def name(self) -> str:
        """The overrides as a user types them."""
        return " ".join(self.overrides) or "unchanged"

    @property
    def changed(self) -> set[str]:
        """The keys that the remedy changes, such as `model.init`; `optim` for any key of optim."""
        keys = {each.split("=")[0].lstrip("+~") for each in self.overrides}
        return {key if key.startswith(("model", "train")) else key.split(".")[0] for key in keys}


UNCHANGED = Remedy((), "the run as it is")


def propose(findings: Sequence[Finding], diverged: bool, config: Config) -> list[Remedy]:
    """Return the remedies that the findings propose, then the remedies for their kinds.

    Args:
        findings: of the run, most severe first.
        diverged: whether the run ended with a loss or gradient that is not finite.
        config: the run's configuration, keyed by dotted name.

    Returns:
        Valid remedies that change the run, each once.
    """
    kinds = [*(["diverged"] if diverged else []), *(finding.kind for finding in findings)]
    by_kind = [each for kind in kinds for each in proposals(kind, config)]
    reasons = dict(reversed(by_kind))
    by_finding = [
        (text, reasons.get(text, f"proposed for {finding.kind}"))
        for finding in findings
        for text in finding.remedies
    ]
    return valid_remedies([*by_finding, *by_kind], config)


def proposals(kind: str, config: Config) -> list[tuple[str, str]]:
    """Return overrides and reasons for a kind of finding or "diverged", most promising first.

    The run may have some of them already, and some may not exist: see `valid_remedies`.
    """
    return list(BY_KIND[kind](config)) if kind in BY_KIND else []


def valid_remedies(proposed: Iterable[tuple[str, str]], config: Config) -> list[Remedy]:
    """Return the proposals that exist and change the run, each once."""
    remedies: dict[tuple[str, ...], Remedy] = {}
    for text, reason in proposed:
        overrides = complete(tuple(text.split()), config)
        if _is_worth_trying(overrides, config):
            remedies.setdefault(overrides, Remedy(overrides, reason))
    return list(remedies.values())


def complete(overrides: tuple[str, ...], config: Config) -> tuple[str, ...]:
    """Add the overrides that a choice requires in this run.

    A new initialisation or optimiser gets its default gain or learning rate if the run set another.
    A larger loss of SGD gets a smaller learning rate, so that the steps stay the same.

    Returns:
        The overrides of the remedy and the required ones.
    """
    values = dict(each.split("=", 1) for each in overrides)
    if "model.init" in values and config.get("model.init_gain") is not None:
        return (*overrides, "model.init_gain=null")
    changed_rate = config["optim.lr"] != _default_rate(config["optim"])
    if "optim" in values and "optim.lr" not in values and changed_rate:
        return (*overrides, f"optim.lr={_default_rate(values['optim']):g}")
    if config["optim"] == "sgd" and {*values} == {"loss.scale"} and float(values["loss.scale"]) > 1:
        rate = config["optim.lr"] * config["loss.scale"] / float(values["loss.scale"])
        return (*overrides, f"optim.lr={rate:.10g}")
    return overrides


def _is_worth_trying(overrides: Sequence[str], config: Config) -> bool:
    values = dict(each.split("=", 1) for each in overrides)
    exist = all(_exists(key, value) for key, value in values.items())
    new = any(k not in config or not _equals(config[k], v) for k, v in values.items())
    faster = float(values.get("optim.lr", 0)) > config["optim.lr"] and "optim" not in values
    one_sample = values.get("model.norm") == "batch" and config["train.batch_size"] < 2
    return exist and new and not faster and not one_sample


def _equals(present: Any, value: str) -> bool:
    """Return whether a value of the configuration equals the text of an override."""
    with suppress(ValueError, TypeError):  # one of the two is not a number
        return float(value) == float(present)
    return value == ("null" if present is None else str(present))


def _exists(key: str, value: str) -> bool:
    """Return whether a value is a valid choice: a name, the path of a class, or any number."""
    valid = choices.names(key.replace(".", "/"))
    return not valid or value in valid or "." in value


def _default_rate(optim: str) -> float:
    """Return the learning rate in an optimiser's file; NaN if gradlab has no such file."""
    known = optim in choices.names("optim")
    return choices.load("optim", optim)["lr"] if known else float("nan")


def _vanishing(config: Config) -> Proposals:
    yield from _inits(*_critical(config), "kaiming_normal", "xavier_normal", "orthogonal", "lsuv")
    yield from _activations("relu", "gelu", "tanh")
    yield from _norms("layer", "batch", "rms")
    yield from _networks(config)
    yield "optim=adam", "its step does not shrink with the gradient"
    if config["train.dtype"] == "float16":
        yield from _underflow(config)


def _networks(config: Config) -> Proposals:
    if config["model"] == "rnn":
        yield "model=lstm", "the cell state passes through the gates, not through the weights"
        yield "model=gru", "a gate lets the state bypass the weights"
        reason = "a rotation preserves the signal's size at every step"
        yield "model.init=orthogonal model.spectral_radius=1", reason
    elif config["model"] in ("mlp", "cnn"):
        yield "model=resmlp", "the skip connection around each layer passes the signal on"


def _critical(config: Config) -> tuple[str, ...]:
    """Return the critical initialisation, which exists for networks without sequences."""
    name = config["model"]
    content = choices.load("model", name) if name in choices.names("model") else {}
    return () if content.get("reads") == "sequence" else ("critical",)


def _exploding(config: Config) -> Proposals:
    names = ("xavier_normal", "kaiming_normal", "lecun_normal", "lsuv", "orthogonal")
    yield from _inits(*_critical(config), *names)
    yield from _norms("layer")
    if config.get("model.norm") == "batch":
        yield "model.norm=none", "batch normalisation makes deep gradients explode"
    yield from _clips("norm", "layer", "value", "adaptive")
    yield from _rates(config, 0.1, 0.01)
    if "model.branch_scale" in config and config["model.depth"]:
        scale = 1 / sqrt(config["model.depth"])
        yield f"model.branch_scale={scale:.3g}", "1/sqrt(depth): the branches add up to one layer"


def _overflow(config: Config) -> Proposals:
    if config["train.dtype"] == "float16":
        yield from _dtypes(config, "bfloat16", "float32")
    yield from _exploding(config)


def _dead(config: Config) -> Proposals:
    yield from _rates(config, 0.1)
    yield from _activations("leaky_relu", "gelu", "elu")
    yield from _inits("kaiming_normal")
    yield from _norms("layer", "batch")


def _saturated(config: Config) -> Proposals:
    yield from _inits("xavier_normal", *_critical(config), "lecun_normal")
    yield from _norms("layer", "batch")
    yield from _activations("relu")
    yield from _rates(config, 0.1)


def _underflow(config: Config) -> Proposals:
    yield from _dtypes(config, "bfloat16", "float32", "float64")
    yield from _loss_scales(config)


def _below_eps(config: Config) -> Proposals:
    if config.get("optim.eps"):
        yield f"optim.eps={config['optim.eps'] * 1e-4:.3g}", "eps, not the gradient, sets the step"
    yield from _loss_scales(config)


def _symmetric(config: Config) -> Proposals:
    for name in ("default", "kaiming_normal", "xavier_normal"):
        yield f"model.init={name}", "random weights make the units differ"


def _unstable(config: Config) -> Proposals:
    yield from _rates(config, 0.1, 0.01)
    yield from _clips("norm", "adaptive")


def _not_learning(config: Config) -> Proposals:
    yield from _rates(config, 10.0, 100.0, 0.1)
    yield "optim=adam", "the size of its updates hardly depends on the size of the gradient"


def _clipping(config: Config) -> Proposals:
    for key in ("clip.max_norm", "clip.max_value", "clip.ratio"):
        if key in config:
            yield f"{key}={10 * config[key]:.6g}", "ten times the limit, which every step reaches"


BY_KIND: dict[str, Callable[[Config], Proposals]] = {
    "vanishing": _vanishing,
    "starved": _vanishing,
    "exploding": _exploding,
    "diverged": _exploding,
    "overflow": _overflow,
    "dead": _dead,
    "saturated": _saturated,
    "underflow": _underflow,
    "below_eps": _below_eps,
    "symmetric": _symmetric,
    "unstable": _unstable,
    "spike": _unstable,
    "not_learning": _not_learning,
    "clipping": _clipping,
}

INITS = {
    "critical": "in theory, the signal keeps its size at this variance",
    "kaiming_normal": "Var W = 2/fan_in compensates for the half of the signal that ReLU removes",
    "xavier_normal": "Var W = 2/(fan_in + fan_out), between what both directions need",
    "lecun_normal": "Var W = 1/fan_in preserves the forward signal of linear units",
    "orthogonal": "every singular value of W is 1",
    "lsuv": "each layer's output has variance 1 on the first batch",
}
ACTIVATIONS = {
    "relu": "phi' is 1 wherever a unit is active",
    "gelu": "phi' is near 1 for half the inputs, and almost nowhere exactly 0",
    "tanh": "phi' is 1 at 0, where sigmoid's is 1/4",
    "leaky_relu": "phi' is never 0",
    "elu": "phi' is never 0, and the output is centred",
}
NORMS = {
    "layer": "scales each layer's signal to one size, per sample",
    "batch": "scales each unit's signal to one size, over the batch",
    "rms": "scales each layer's signal to one size, without centring",
}
CLIPS = {
    "norm": "limits the step and preserves its direction",
    "layer": "limits each layer's step",
    "value": "limits each entry's step",
    "adaptive": "limits each unit's step relative to its weights",
}


def _inits(*names: str) -> Proposals:
    return ((f"model.init={name}", INITS[name]) for name in names)


def _activations(*names: str) -> Proposals:
    return ((f"model.activation={name}", ACTIVATIONS[name]) for name in names)


def _norms(*names: str) -> Proposals:
    return ((f"model.norm={name}", NORMS[name]) for name in names)


def _clips(*names: str) -> Proposals:
    return ((f"clip={name}", CLIPS[name]) for name in names)


def _rates(config: Config, *factors: float) -> Proposals:
    rate, optim = config["optim.lr"], config["optim"]
    for factor in factors:
        yield f"optim.lr={rate * factor:.6g}", f"{factor:g} times the run's learning rate"
    default = _default_rate(optim)
    if default < rate:
        yield f"optim.lr={default:g}", f"the default learning rate of {optim}"


def _dtypes(config: Config, *dtypes: str) -> Proposals:
    present = DTYPES.index(config["train.dtype"])
    wider = [each for each in dtypes if DTYPES.index(each) > present]
    return ((f"train.dtype={each}", "has a wider range or a finer resolution") for each in wider)


def _loss_scales(config: Config) -> Proposals:
    """Enlarge the loss. SGD gets a smaller rate; other optimisers are invariant to the scale."""
    if config["loss.scale"] < 1:
        yield "loss.scale=1", "a factor below 1 shrinks gradients and steps"
    factor = 2.0**10 if config["train.dtype"] == "float16" else 2.0**20  # float16 ends at 65504
    scale = f"loss.scale={config['loss.scale'] * factor:.10g}"
    if config["optim"] == "sgd":
        scale += f" optim.lr={config['optim.lr'] / factor:.10g}"
    yield scale, "larger gradients, with the same steps"
