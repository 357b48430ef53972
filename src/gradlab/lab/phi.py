"""Activations among a network's modules: which they are, and what phi' does in them."""

from typing import Any

import torch
from torch import Tensor, nn

from gradlab.record.slopes import derivative, steepest_slope
from gradlab.record.statistics import SATURATED_BELOW

KINDS = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
"""Elementwise, without parameters, and without chance: `RReLU` would draw numbers of its own."""
ROOMS = ("transformers.activations", "timm.layers.activations")
ONE_SIDED = (nn.ReLU, nn.LeakyReLU, nn.Threshold)
"""Flat on one side by design: that many entries are there is sparseness, not saturation."""


def is_activation(module: nn.Module) -> bool:
    """Say whether a module is an activation whose derivative can be taken."""
    known = isinstance(module, KINDS) or type(module).__module__ in ROOMS
    return known and not any(True for _ in module.parameters())


class Slopes:
    """What is known of activations: the maximum of |phi'|, measured once for each kind."""

    def __init__(self) -> None:
        self._steepest: dict[str, float] = {}

    def of(self, phi: nn.Module, u: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Return the share of saturated entries, and the largest |phi'| of each unit."""
        # Whatever keeps saved tensors elsewhere (checkpointing) must not count those made here.
        with torch.autograd.graph.saved_tensors_hooks(_same, _same):
            if repr(phi) not in self._steepest:
                self._steepest[repr(phi)] = steepest_slope(phi)
            slope = derivative(phi, u).abs()
        saturated = (slope < SATURATED_BELOW * self._steepest[repr(phi)]).double().mean()
        return saturated, slope.movedim(channels, -1).flatten(0, -2).amax(0)


def _same(x: Any) -> Any:
    return x
