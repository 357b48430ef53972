"""Activations among a network's modules: which they are, and what phi' does in them.

To take phi' of every entry costs more than the activation itself. What is asked of it is only
whether it is 0, or below a share of its maximum, and where that is so is found once, in the run's
dtype: a few intervals of u. Of a tensor one then counts the entries up to each edge.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.recording.slopes import derivative, steepest_slope
from gradlab.recording.sums import SATURATED_BELOW

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
NEAR, FAR = 20.0, 1e4
"""|u| up to which the intervals are sought finely, and at all."""


def is_activation(module: nn.Module) -> bool:
    """Say whether a module is an activation whose derivative can be taken."""
    known = isinstance(module, KINDS) or type(module).__module__ in ROOMS
    return known and not any(True for _ in module.parameters())


Span = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """Where phi' is flat: `edges`, each the last u of an interval but for the last of them.

    `saturated` and `zero` say it of each interval; there is one more than edges.
    """

    edges: tuple[float, ...]
    saturated: tuple[bool, ...]
    zero: tuple[bool, ...]

    def share_saturated(self, u_BU: Tensor, span: Span) -> Tensor:
        """Return the share of the entries with |phi'| < 5% of its maximum, float64."""
        return self._count(u_BU, self.saturated, span, None).double() / u_BU.numel()

    def alive(self, u_BU: Tensor, span: Span) -> Tensor:
        """Return for each unit 0.0 if phi' is 0 for every sample, else 1.0."""
        zeros = self._count(u_BU, self.zero, span, 0)
        return (zeros < len(u_BU)).double().expand(u_BU.shape[1])

    def _count(self, u_BU: Tensor, flat: tuple[bool, ...], span: Span, dim: int | None) -> Tensor:
        """Return how many entries are in flat intervals: those up to its end, less those before."""
        least, most = span
        if math.isfinite(most - least):
            numbers = torch.tensor(u_BU.numel() if dim is None else len(u_BU), device=u_BU.device)
        else:  # what is not a number is in no interval
            numbers = torch.count_nonzero(u_BU == u_BU, dim)
        total = numbers * flat[-1]
        for edge, before, after in zip(self.edges, flat, flat[1:], strict=False):
            if before == after or edge < least:
                continue
            reached = numbers if edge >= most else torch.count_nonzero(u_BU <= edge, dim)
            total = total + reached if before else total - reached
        return total


def intervals(phi: nn.Module, dtype: torch.dtype) -> Intervals:
    """Find the intervals of u in which phi' is flat, to the last number of a dtype before each."""
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
    """The intervals of each activation that has been met, by dtype."""

    def __init__(self) -> None:
        self._known: dict[tuple[type, str, torch.dtype], Intervals] = {}

    def of(self, phi: nn.Module, u: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Return the share of saturated entries, and for each unit 0.0 if it is dead, else 1.0.

        Units lie along the dimension `channels`; a vector is one sample.
        """
        key = type(phi), repr(phi), u.dtype
        if key not in self._known:
            # Whatever keeps saved tensors elsewhere (checkpointing) must not count those made here.
            with torch.autograd.graph.saved_tensors_hooks(_same, _same), torch.enable_grad():
                self._known[key] = intervals(_alone(phi), u.dtype)
        last = u.movedim(channels, -1) if u.ndim > 1 else u.reshape(-1)
        found, u_BU = self._known[key], last.reshape(-1, last.shape[-1])
        span = span_of(u_BU)
        return found.share_saturated(u_BU, span), found.alive(u_BU, span)


def span_of(u: Tensor) -> Span:
    """Return the least and the greatest entry: edges beyond them need no counting.

    Off the CPU no bounds: to look at them there would be to wait.
    """
    if u.device.type != "cpu" or not u.numel():
        return -math.inf, math.inf
    least, most = u.aminmax()
    return float(least), float(most)


def _alone(phi: nn.Module) -> nn.Module:
    """Return a copy that no hook of anyone's hears."""
    copied = copy.deepcopy(phi)
    for name, value in vars(copied).items():
        if name.endswith("hooks") and isinstance(value, dict):
            value.clear()
    return copied


def _same(x: Any) -> Any:
    return x
