"""By kind of finding, the overrides that may help, each with the reason to try it."""

from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from typing import Any

from gradlab.config import choices
from gradlab.config.ranges import DTYPES

Config = Mapping[str, Any]
Proposed = Iterator[tuple[str, str]]


def offers(kind: str, config: Config) -> list[tuple[str, str]]:
    """Return overrides and reasons, most promising first; several overrides are one text.

    Whether the run has them already, and whether there is such a choice, is not asked.

    Args:
        kind: of a finding, or "diverged".
        config: the run's, flat.
    """
    return list(BY_KIND[kind](config)) if kind in BY_KIND else []


def _vanishing(config: Config) -> Proposed:
    yield from _inits(*_critical(config), "kaiming_normal", "xavier_normal", "orthogonal", "lsuv")
    yield from _activations("relu", "gelu", "tanh")
    yield from _norms("layer", "batch", "rms")
    yield from _networks(config)
    yield "optim=adam", "its step does not shrink with the gradient"
    if config["train.dtype"] == "float16":
        yield from _underflow(config)


def _networks(config: Config) -> Proposed:
    if config["model"] == "rnn":
        yield "model=lstm", "a cell hands on what its gates let pass, whatever the weights"
        yield "model=gru", "a gate lets the state pass beside the weights"
        told = "a rotation keeps the signal's size at every step"
        yield "model.init=orthogonal model.spectral_radius=1", told
    elif config["model"] in ("mlp", "cnn"):
        yield "model=resmlp", "the identity beside each layer passes the signal on"


def _critical(config: Config) -> tuple[str, ...]:
    """Return the initialisation of chains of layers, which no network of sequences is."""
    name = config["model"]
    known = choices.load("model", name) if name in choices.names("model") else {}
    return () if known.get("reads") == "sequence" else ("critical",)


def _exploding(config: Config) -> Proposed:
    gains = ("xavier_normal", "kaiming_normal", "lecun_normal", "lsuv", "orthogonal")
    yield from _inits(*_critical(config), *gains)
    yield from _norms("layer")
    if config.get("model.norm") == "batch":
        yield "model.norm=none", "batch normalisation makes deep gradients explode"
    yield from _clips("norm", "layer", "value", "adaptive")
    yield from _rates(config, 0.1, 0.01)
    if "model.branch_scale" in config and config["model.depth"]:
        scale = 1 / sqrt(config["model.depth"])
        yield f"model.branch_scale={scale:.3g}", "1/sqrt(depth): the branches add up to one layer"


def _overflow(config: Config) -> Proposed:
    if config["train.dtype"] == "float16":
        yield from _wider(config, "bfloat16", "float32")
    yield from _exploding(config)


def _dead(config: Config) -> Proposed:
    yield from _rates(config, 0.1)
    yield from _activations("leaky_relu", "gelu", "elu")
    yield from _inits("kaiming_normal")
    yield from _norms("layer", "batch")


def _saturated(config: Config) -> Proposed:
    yield from _inits("xavier_normal", *_critical(config), "lecun_normal")
    yield from _norms("layer", "batch")
    yield from _activations("relu")
    yield from _rates(config, 0.1)


def _underflow(config: Config) -> Proposed:
    yield from _wider(config, "bfloat16", "float32", "float64")
    yield from _scales(config)


def _below_eps(config: Config) -> Proposed:
    if config.get("optim.eps"):
        yield f"optim.eps={config['optim.eps'] * 1e-4:.3g}", "eps, not the gradient, sets the step"
    yield from _scales(config)


def _symmetric(config: Config) -> Proposed:
    for name in ("default", "kaiming_normal", "xavier_normal"):
        yield f"model.init={name}", "random weights, so that units are no copies of each other"


def _unstable(config: Config) -> Proposed:
    yield from _rates(config, 0.1, 0.01)
    yield from _clips("norm", "adaptive")


def _clipping(config: Config) -> Proposed:
    for key in ("clip.max_norm", "clip.max_value", "clip.ratio"):
        if key in config:
            yield f"{key}={10 * config[key]:.6g}", "ten times the limit that every step meets"


BY_KIND: dict[str, Callable[[Config], Proposed]] = {
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
    "clipping": _clipping,
}

INITS = {
    "critical": "the variance at which theory has the signal keep its size",
    "kaiming_normal": "Var W = 2/fan_in makes up for the half that ReLU takes",
    "xavier_normal": "Var W = 2/(fan_in + fan_out), between what both directions need",
    "lecun_normal": "Var W = 1/fan_in keeps the forward signal of linear units",
    "orthogonal": "every singular value of W is 1",
    "lsuv": "each layer's output has variance 1 on the first batch",
}
ACTIVATIONS = {
    "relu": "phi' is 1 wherever a unit is on",
    "gelu": "phi' is near 1 for half the inputs, and nowhere exactly 0",
    "tanh": "phi' is 1 at 0, where sigmoid's is 1/4",
    "leaky_relu": "phi' is never 0",
    "elu": "phi' is never 0, and the output is centred",
}
NORMS = {
    "layer": "each layer's signal is brought to one size, per sample",
    "batch": "each unit's signal is brought to one size, over the batch",
    "rms": "each layer's signal is brought to one size, not centred",
}
CLIPS = {
    "norm": "bounds the step and keeps its direction",
    "layer": "bounds each layer's step",
    "value": "bounds each entry's step",
    "adaptive": "bounds each unit's step by its own weights",
}


def _inits(*names: str) -> Proposed:
    return ((f"model.init={name}", INITS[name]) for name in names)


def _activations(*names: str) -> Proposed:
    return ((f"model.activation={name}", ACTIVATIONS[name]) for name in names)


def _norms(*names: str) -> Proposed:
    return ((f"model.norm={name}", NORMS[name]) for name in names)


def _clips(*names: str) -> Proposed:
    return ((f"clip={name}", CLIPS[name]) for name in names)


def _rates(config: Config, *factors: float) -> Proposed:
    rate, optim = config["optim.lr"], config["optim"]
    for factor in factors:
        yield f"optim.lr={rate * factor:.6g}", f"{factor:g} of the run's learning rate"
    ships = choices.load("optim", optim)["lr"] if optim in choices.names("optim") else rate
    if ships < rate:
        yield f"optim.lr={ships:g}", f"the learning rate that ships with {optim}"


def _wider(config: Config, *dtypes: str) -> Proposed:
    own = DTYPES.index(config["train.dtype"])
    wider = [each for each in dtypes if DTYPES.index(each) > own]
    return (
        (f"train.dtype={each}", "numbers of a wider range, or closer together") for each in wider
    )


def _scales(config: Config) -> Proposed:
    """Enlarge the loss; SGD's rate makes up for it, and the others do not mind."""
    if config["loss.scale"] < 1:
        yield "loss.scale=1", "the loss itself: a factor below 1 shrinks gradients and steps"
    factor = 2.0**10 if config["train.dtype"] == "float16" else 2.0**20  # whose range is short
    scale = f"loss.scale={config['loss.scale'] * factor:.10g}"
    if config["optim"] == "sgd":  # all others divide by the gradient's size
        scale += f" optim.lr={config['optim.lr'] / factor:.10g}"
    yield scale, "the same steps, from gradients that are not as small"
