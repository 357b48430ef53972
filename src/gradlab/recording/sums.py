"""One pass over each tensor of a recorded step, while it is in the cache.

Shape suffixes: S site, M member, B batch, U unit, O output unit, I input unit. What comes out is
[S, M], float64 or, where it is still to be looked at, float32; whatever the run's dtype, but phi'
is that of the run's dtype: a unit is dead when *its* arithmetic says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradlab.recording.norms import norm, quick_norm, total
from gradlab.recording.slopes import derivative

SATURATED_BELOW = 0.05  # of the maximum of |phi'|


@dataclass(frozen=True)
class Kind:
    """What sites that are measured together have in common."""

    activation: nn.Module | None
    steepest: float
    normalised: bool
    bias: bool
    weight_count: int


@dataclass(frozen=True)
class Measured:
    """The tensors of sites of one kind; where a site has no such part, what stands for it."""

    delta: Tensor  # SMBU
    preact_grad: Tensor  # SMBU
    act_grad: Tensor  # SMBU
    out_grad: Tensor  # SMBU
    back: Tensor  # SMBI
    weight: Tensor  # SMOI
    weight_grad: Tensor  # SMOI
    preact: Tensor  # SMBU
    act: Tensor  # SMBU
    weight_after: Tensor  # SMOI
    bias_grad: Tensor  # SMO


class Sums(NamedTuple):
    """What one pass over each tensor of some sites tells; norms, by name, are `quick_norm`s."""

    delta: Tensor
    preact_grad: Tensor
    act_grad: Tensor
    out_grad: Tensor
    back: Tensor
    weight: Tensor
    weight_grad: Tensor
    update: Tensor  # ‖W_after - W‖
    preact: Tensor
    act: Tensor
    preact_mean: Tensor
    act_mean: Tensor
    unit_mean_SMI: Tensor  # of dLoss/dW, over the layer's units
    bias_grad: Tensor
    zeros: Tensor
    saturated: Tensor
    dead: Tensor


def sums(m: Measured, kind: Kind) -> Sums:
    """Pass over the tensors of some sites, while each is in the cache."""
    delta = quick_norm(m.delta)
    preact_grad = delta if m.preact_grad is m.delta else quick_norm(m.preact_grad)
    act_grad = preact_grad if m.act_grad is m.preact_grad else quick_norm(m.act_grad)
    preact, preact_mean = quick_norm(m.preact), mean(m.preact)
    same = m.act is m.preact
    return Sums(
        delta,
        preact_grad,
        act_grad,
        act_grad if m.out_grad is m.act_grad else quick_norm(m.out_grad),
        quick_norm(m.back),
        quick_norm(m.weight),
        quick_norm(m.weight_grad),
        quick_norm(update(m), m.weight.dtype),
        preact,
        preact if same else quick_norm(m.act),
        preact_mean,
        preact_mean if same else mean(m.act),
        wide(m.weight_grad).mean(-2),
        norm(m.bias_grad, -1),
        _share(torch.eq, m.weight_grad, 0.0),
        *saturated_and_dead(kind, m.preact),
    )


def mean(x: Tensor) -> Tensor:
    """Return the mean over the last two dimensions, [S, M] float64."""
    return _average(wide(x))


def update(m: Measured) -> Tensor:
    """Return W_after - W; float32 has the difference of near numbers exactly."""
    return wide(m.weight_after) - wide(m.weight)


def saturated_and_dead(kind: Kind, u_SMBU: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fraction of entries with |phi'| < 5% of its maximum, and that of dead units.

    A unit is dead if phi' is exactly 0 for every sample of the batch. Each is [S, M] float64.
    """
    if kind.activation is None:
        zero = u_SMBU.new_zeros(u_SMBU.shape[:2], dtype=torch.float64)
        return zero, zero
    if math.isnan(kind.steepest):  # gates: no function of each entry
        none = u_SMBU.new_full(u_SMBU.shape[:2], math.nan, dtype=torch.float64)
        return none, none
    if type(kind.activation) is nn.ReLU:  # whose phi' is 0 or 1: one count tells both
        off_SMU, batch = _truth(torch.le, u_SMBU, 0.0).sum(-2), u_SMBU.shape[-2]
        return off_SMU.double().mean(-1) / batch, (off_SMU == batch).double().mean(-1)
    slope = derivative(kind.activation, u_SMBU).abs_()
    saturated = _share(torch.lt, slope, SATURATED_BELOW * kind.steepest)
    return saturated, (slope.amax(-2) == 0).double().mean(-1)


def _share(holds: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    return _average(_truth(holds, x, limit))


def _average(x: Tensor) -> Tensor:
    return total(x) / (x.shape[-1] * x.shape[-2])


def _truth(holds: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    """Return 1 where `holds(x, limit)`: as floats truths are summed ten times as fast."""
    return holds(x, limit, out=torch.empty_like(x, dtype=torch.float32))


def wide(x: Tensor) -> Tensor:
    """Return x in the dtype that is calculated with: float32 has enough, smaller ones have not."""
    return x if x.dtype == torch.float32 else x.double()
