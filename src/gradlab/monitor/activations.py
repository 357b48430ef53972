"""Find the activations of a network, and count their saturated entries and dead units.

Computing phi' for every entry costs more than the activation itself. gradlab needs to know only
where phi' is 0, or below 5% of its maximum. It finds these intervals of u once for each activation
and dtype. Then it counts the entries of a tensor in each interval.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.recording.columns import SATURATED_BELOW, derivative, steepest_slope

ACTIVATIONS = (
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
"""Elementwise activations without parameters and without random numbers (`RReLU` draws some)."""
LIBRARIES = ("transformers.activations", "timm.layers.activations")
ONE_SIDED = (nn.ReLU, nn.LeakyReLU, nn.Threshold)
"""Activations that are flat on one side by design; entries there are not called saturated."""
NEAR, FAR = 20.0, 1e4
"""Largest |u| of the fine and of the coarse search for intervals."""


def is_activation(module: nn.Module) -> bool:
    """Return whether a module is an elementwise activation without parameters."""
    known = isinstance(module, ACTIVATIONS) or type(module).__module__ in LIBRARIES
    return known and not any(True for _ in module.parameters())


Range = tuple[float, float]


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

    def share_saturated(self, u_BU: Tensor, limits: Range) -> Tensor:
        """Return the share of entries with |phi'| < 5% of its maximum, float64."""
        return self._count(u_BU, self.saturated, limits, None).double() / u_BU.numel()

    def alive_units(self, u_BU: Tensor, limits: Range) -> Tensor:
        """Return for each unit 0.0 if phi' is 0 for every sample, else 1.0."""
        zeros = self._count(u_BU, self.zero, limits, 0)
        return (zeros < len(u_BU)).double().expand(u_BU.shape[1])

    def _count(
        self, u_BU: Tensor, flat: tuple[bool, ...], limits: Range, dim: int | None
    ) -> Tensor:
        """Count the entries in flat intervals.

        Args:
            u_BU: Pre-activations, [B, U].
            flat: For each interval, whether its entries count.
            limits: The smallest and the largest entry.
            dim: Dimension to count over; None for all.

        Returns:
            The number of entries: [U] for dimension 0, a scalar for None.
        """
        smallest, largest = limits
        if math.isfinite(largest - smallest):
            numbers = torch.tensor(u_BU.numel() if dim is None else len(u_BU), device=u_BU.device)
        else:  # NaN is in no interval
            numbers = torch.count_nonzero(u_BU == u_BU, dim)
        total = numbers * flat[-1]
        for edge, before, after in zip(self.edges, flat, flat[1:], strict=False):
            if before == after or edge < smallest:
                continue
            reached = numbers if edge >= largest else torch.count_nonzero(u_BU <= edge, dim)
            total = total + reached if before else total - reached
        return total


def find_intervals(phi: nn.Module, dtype: torch.dtype) -> Intervals:
    """Find the intervals of u in which phi' is flat, exact to one step of the dtype."""
    far = torch.logspace(1, 4, 1_000, dtype=torch.float64)
    near = torch.linspace(-NEAR, NEAR, 40_001, dtype=torch.float64)
    u = torch.cat([-far, near, far]).to(dtype).unique()
    limit = SATURATED_BELOW * steepest_slope(phi)

    def flatness(u: Tensor) -> Tensor:
        slope = derivative(phi, u).abs()
        return (slope < limit).int() + 2 * (slope == 0).int()

    levels = flatness(u)
    changes = (levels[1:] != levels[:-1]).nonzero()[:, 0]
    low, high = u[changes], u[changes + 1]
    while len(changes):
        middle = low + (high - low) / 2
        if bool(((middle == low) | (middle == high)).all()):
            break
        same = flatness(middle) == levels[changes]
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    of_interval = [int(levels[0]), *levels[changes + 1].tolist()]
    return Intervals(
        tuple(low.tolist()),
        tuple(bool(level & 1) for level in of_interval),
        tuple(bool(level & 2) for level in of_interval),
    )


class IntervalCache:
    """The intervals of each activation and dtype, found at their first use."""

    def __init__(self) -> None:
        self._intervals: dict[tuple[type, str, torch.dtype], Intervals] = {}

    def count(self, phi: nn.Module, u: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Count saturated entries, and find units that are alive.

        Args:
            phi: The activation.
            u: Its input; a vector is one sample.
            channels: The dimension of the units.

        Returns:
            The share of saturated entries; and for each unit 0.0 if it is dead, else 1.0.
        """
        key = type(phi), repr(phi), u.dtype
        if key not in self._intervals:
            # A checkpoint around this module must not see the tensors that the search saves.
            with torch.autograd.graph.saved_tensors_hooks(_same, _same), torch.enable_grad():
                self._intervals[key] = find_intervals(_copy_without_hooks(phi), u.dtype)
        units_last = u.movedim(channels, -1) if u.ndim > 1 else u.reshape(-1)
        u_BU = units_last.reshape(-1, units_last.shape[-1])
        intervals, limits = self._intervals[key], range_of(u_BU)
        return intervals.share_saturated(u_BU, limits), intervals.alive_units(u_BU, limits)


def range_of(u: Tensor) -> Range:
    """Return the smallest and the largest entry, outside of which no edge needs counting.

    On a GPU, reading the entries would wait for the device; the range is then infinite.
    """
    if u.device.type != "cpu" or not u.numel():
        return -math.inf, math.inf
    smallest, largest = u.aminmax()
    return float(smallest), float(largest)


def _copy_without_hooks(phi: nn.Module) -> nn.Module:
    copied = copy.deepcopy(phi)
    for name, value in vars(copied).items():
        if name.endswith("hooks") and isinstance(value, dict):
            value.clear()
    return copied


def _same(x: Any) -> Any:
    return x
