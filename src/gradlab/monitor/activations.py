"""Find the activations among a network's modules, and count saturated entries and dead units.

To compute phi' for every entry costs more than the activation itself. gradlab only needs to know
where phi' is 0, or below a share of its maximum. These intervals of u are found once for each
activation and dtype. Then the entries of a tensor up to each edge are counted.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.recording.columns import SATURATED_BELOW, derivative, steepest_slope

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
"""Elementwise, deterministic and without parameters; `RReLU` draws random numbers."""
ROOMS = ("transformers.activations", "timm.layers.activations")
ONE_SIDED = (nn.ReLU, nn.LeakyReLU, nn.Threshold)
"""Flat on one side by design: entries there make a network sparse, not saturated."""
NEAR, FAR = 20.0, 1e4
"""Limits of |u| of the fine and of the coarse search for intervals."""


def is_activation(module: nn.Module) -> bool:
    """Return whether a module is an activation with a derivative."""
    known = isinstance(module, KINDS) or type(module).__module__ in ROOMS
    return known and not any(True for _ in module.parameters())


Span = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """The intervals of u in which phi' is flat.

    Attributes:
        edges: The last u of each interval, except the last interval.
        saturated: For each interval, whether |phi'| < 5% of its maximum.
        zero: For each interval, whether phi' = 0.
    """

    edges: tuple[float, ...]
    saturated: tuple[bool, ...]
    zero: tuple[bool, ...]

    def share_saturated(self, u_BU: Tensor, span: Span) -> Tensor:
        """Return the share of entries with |phi'| < 5% of its maximum, float64."""
        return self._count(u_BU, self.saturated, span, None).double() / u_BU.numel()

    def alive(self, u_BU: Tensor, span: Span) -> Tensor:
        """Return for each unit 0.0 if phi' is 0 for every sample, else 1.0."""
        zeros = self._count(u_BU, self.zero, span, 0)
        return (zeros < len(u_BU)).double().expand(u_BU.shape[1])

    def _count(self, u_BU: Tensor, flat: tuple[bool, ...], span: Span, dim: int | None) -> Tensor:
        """Return the number of entries in flat intervals.

        Args:
            u_BU: Pre-activations.
            flat: For each interval, whether its entries count.
            span: The least and the greatest entry.
            dim: Dimension to count over; None for all.
        """
        least, most = span
        if math.isfinite(most - least):
            numbers = torch.tensor(u_BU.numel() if dim is None else len(u_BU), device=u_BU.device)
        else:  # NaN is in no interval
            numbers = torch.count_nonzero(u_BU == u_BU, dim)
        total = numbers * flat[-1]
        for edge, before, after in zip(self.edges, flat, flat[1:], strict=False):
            if before == after or edge < least:
                continue
            reached = numbers if edge >= most else torch.count_nonzero(u_BU <= edge, dim)
            total = total + reached if before else total - reached
        return total


def intervals(phi: nn.Module, dtype: torch.dtype) -> Intervals:
    """Return the intervals of u in which phi' is flat, exact to one step of the dtype."""
    far = torch.logspace(1, 4, 1_000, dtype=torch.float64)
    near = torch.linspace(-NEAR, NEAR, 40_001, dtype=torch.float64)
    u = torch.cat([-far, near, far]).to(dtype).unique()
    limit = SATURATED_BELOW * steepest_slope(phi)

    def flat(at: Tensor) -> Tensor:
        slope = derivative(phi, at).abs()
        return (slope < limit).int() + 2 * (slope == 0).int()

    kinds = flat(u)
    changes = (kinds[1:] != kinds[:-1]).nonzero()[:, 0]
    low, high = u[changes], u[changes + 1]
    while len(changes):
        middle = low + (high - low) / 2
        if bool(((middle == low) | (middle == high)).all()):
            break
        same = flat(middle) == kinds[changes]
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    every = [int(kinds[0]), *kinds[changes + 1].tolist()]
    return Intervals(
        tuple(low.tolist()), tuple(bool(k & 1) for k in every), tuple(bool(k & 2) for k in every)
    )


class Slopes:
    """Caches the intervals of each activation and dtype."""

    def __init__(self) -> None:
        self._known: dict[tuple[type, str, torch.dtype], Intervals] = {}

    def of(self, phi: nn.Module, u: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Count saturated entries and dead units.

        Args:
            phi: The activation.
            u: Its input; a vector is one sample.
            channels: The dimension of the units.

        Returns:
            The share of saturated entries; and for each unit 0.0 if it is dead, else 1.0.
        """
        key = type(phi), repr(phi), u.dtype
        if key not in self._known:
            # Hooks on saved tensors (of checkpointing) must not count the tensors saved here.
            with torch.autograd.graph.saved_tensors_hooks(_same, _same), torch.enable_grad():
                self._known[key] = intervals(_alone(phi), u.dtype)
        last = u.movedim(channels, -1) if u.ndim > 1 else u.reshape(-1)
        found, u_BU = self._known[key], last.reshape(-1, last.shape[-1])
        span = span_of(u_BU)
        return found.share_saturated(u_BU, span), found.alive(u_BU, span)


def span_of(u: Tensor) -> Span:
    """Return the least and the greatest entry: edges beyond them need not be counted.

    On a GPU return infinite bounds, for reading the entries would wait for the device.
    """
    if u.device.type != "cpu" or not u.numel():
        return -math.inf, math.inf
    least, most = u.aminmax()
    return float(least), float(most)


def _alone(phi: nn.Module) -> nn.Module:
    """Return a copy without hooks."""
    copied = copy.deepcopy(phi)
    for name, value in vars(copied).items():
        if name.endswith("hooks") and isinstance(value, dict):
            value.clear()
    return copied


def _same(x: Any) -> Any:
    return x
