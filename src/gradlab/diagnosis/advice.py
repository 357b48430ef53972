"""The remedies that a finding prints: overrides for gradlab's networks, code for watched ones."""

import re
from collections.abc import Mapping
from typing import Any

CODE = {
    "model.init=default": "layer.reset_parameters()",
    "model.init=kaiming_normal": "torch.nn.init.kaiming_normal_(layer.weight)",
    "model.init=xavier_normal": "torch.nn.init.xavier_normal_(layer.weight)",
    "model.norm=layer": "nn.LayerNorm between the layers",
    "model=resmlp": "a skip connection around each layer: x + layer(x)",
    "model.activation=leaky_relu": "nn.LeakyReLU() as the activation",
    "optim=adam": "torch.optim.Adam(model.parameters())",
    "clip=norm": "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) before optimizer.step()",
    "loss.scale=1024": "a larger loss, as with torch.amp.GradScaler()",
    "train.dtype=bfloat16": "model.bfloat16()",
    "train.dtype=float32": "model.float()",
    "train.dtype=float64": "model.double()",
}
"""By override, the code that does the same in a training script."""
_OVERRIDE = re.compile(r"[\w.]+=[^\s=]+$")
SMALLER_RATE = "optim.lr=smaller"
"""Stands for a tenth of the run's learning rate, or for 0.01 if that is unknown."""


def advise(overrides: tuple[str, ...], config: Mapping[str, Any], watched: bool) -> tuple[str, ...]:
    """Return the remedies to print, except those that the run already has.

    Args:
        overrides: The remedies of a rule; lines of code remain as they are.
        config: The flat configuration of the run; may be empty.
        watched: Whether the network is the user's, which overrides cannot change.

    Returns:
        Overrides, or lines of code for a watched network.

    Example:
        >>> advise(("optim=adam", "model.norm=layer"), {"optim": "adam"}, watched=False)
        ('model.norm=layer',)
        >>> advise((SMALLER_RATE,), {"optim.lr": 0.5}, watched=True)
        ('a smaller learning rate: lr=0.05',)
    """
    rate = config.get("optim.lr")
    smaller = f"optim.lr={rate / 10:.6g}" if rate else "optim.lr=0.01"
    if watched:
        lines = [_code(each, config) if _OVERRIDE.match(each) else each for each in overrides]
        return tuple(line for line in lines if line)
    resolved = [smaller if each == SMALLER_RATE else each for each in overrides]
    return tuple(e for e in resolved if not _OVERRIDE.match(e) or not _is_set(e, config))


def _code(override: str, config: Mapping[str, Any]) -> str:
    """Return the code for an override; "" if there is none, or the run already has it."""
    key, _, value = override.partition("=")
    if key == "optim.lr":
        rate = config.get(key)
        if override == SMALLER_RATE:
            return "a smaller learning rate" + (f": lr={rate / 10:.2g}" if rate else "")
        return f"another learning rate: lr={value}"
    if _is_set(override, config):
        return ""
    if key == "optim.eps":
        return f"eps={value} as an argument of the optimiser"
    return CODE.get(override, "")


def _is_set(override: str, config: Mapping[str, Any]) -> bool:
    key, _, value = override.partition("=")
    try:
        return float(config[key]) == float(value)
    except (KeyError, TypeError, ValueError):
        return str(config.get(key)) == value
