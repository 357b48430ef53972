"""Pure statistics of the signals and parameters of layers: tensors in, the schema's columns out.

Shape suffixes: S site, M member, B batch, U unit, O output unit, I input unit, K moment, C column.
Sites of one shape are measured together. First come the moments, each a pass over a large tensor;
then the columns, which are small. Moments are float64 whatever the run's dtype, except that phi' is
that of the run's dtype: a unit is dead when *its* arithmetic says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradlab import schema
from gradlab.record.norms import matrix_norm, norm, quick_norm, repaired, settled, total
from gradlab.record.slopes import derivative

SATURATED_BELOW = 0.05  # of the maximum of |phi'|
CANCELLED = 0.1  # a difference of squares that is less than this part of them is taken otherwise


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
        _wide(m.weight_grad).mean(-2),
        norm(m.bias_grad, -1),
        _share(torch.eq, m.weight_grad, 0.0),
        *saturated_and_dead(kind, m.preact),
    )


def columns(parts: Sequence[Measured], kind: Kind) -> Tensor:
    """Return [S, M, C]: the columns of `schema.STATISTICS`, in that order, of sites of one kind.

    Undefined ratios (0/0) are NaN.
    """
    told = Sums(*map(torch.cat, zip(*(sums(m, kind) for m in parts), strict=True)))

    def norms(name: str) -> Tensor:
        return settled(getattr(told, name), [getattr(m, name) for m in parts])

    delta, preact_grad, act_grad = norms("delta"), norms("preact_grad"), norms("act_grad")
    weight, weight_grad = norms("weight"), norms("weight_grad")
    preacts, acts, grads = (
        [getattr(m, n) for m in parts] for n in ("preact", "act", "weight_grad")
    )
    one = torch.ones_like(delta)
    values = {
        "weight_grad_norm": weight_grad,
        "bias_grad_norm": told.bias_grad if kind.bias else one * math.nan,
        "delta_norm": delta,
        "act_grad_norm": act_grad,
        "act_factor": one if kind.activation is None else preact_grad / act_grad,
        "weight_factor": norms("back") / delta,
        "norm_factor": delta / preact_grad * (act_grad / norms("out_grad"))
        if kind.normalised
        else one,
        "preact_mean": told.preact_mean,
        "preact_std": std(norms("preact"), told.preact_mean, preacts),
        "act_mean": told.act_mean,
        "act_std": std(norms("act"), told.act_mean, acts),
        "saturated": told.saturated,
        "dead": told.dead,
        "weight_norm": weight,
        "update_ratio": settled(told.update, (update(m) for m in parts)) / weight,
        "weight_count": one * kind.weight_count,
        "unit_spread": spread(weight_grad, told.unit_mean_SMI, grads) / weight_grad,
        "grad_zeros": told.zeros,
        "grad_nonfinite": nonfinite(weight_grad, grads),
    }
    return torch.stack([values[column.name] for column in schema.STATISTICS], dim=-1)


def mean(x: Tensor) -> Tensor:
    """Return the mean over the last two dimensions, [S, M] float64."""
    x = _wide(x)
    return _average(x)


def std(norms: Tensor, means: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return the population standard deviation over batch and units, [S, M]."""
    root = math.sqrt(parts[0].shape[-1] * parts[0].shape[-2])

    def centred(x: Tensor) -> Tensor:
        wide = _wide(x)
        return matrix_norm(wide - mean(x)[..., None, None].to(wide.dtype), x.dtype) / root

    return _less(norms / root, means, parts, centred)


def spread(norms: Tensor, means_SMI: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return ‖G - its mean over units‖ of gradients G [S, M, O, I]; NaN for a single unit."""
    units = parts[0].shape[-2]
    if units < 2:
        return torch.full_like(norms, math.nan)

    def centred(x: Tensor) -> Tensor:
        wide = _wide(x)
        return matrix_norm(wide - wide.mean(-2, keepdim=True), x.dtype)

    return _less(norms, norm(means_SMI, -1, parts[0].dtype) * math.sqrt(units), parts, centred)


def _less(
    whole: Tensor, part: Tensor, parts: Sequence[Tensor], exact: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return sqrt(whole² - part²); by `exact` where it is a small difference of large numbers."""
    left = 1 - (part / whole).square()
    return repaired(whole * left.sqrt(), ~(left > CANCELLED), parts, exact)


def update(m: Measured) -> Tensor:
    """Return W_after - W; float32 has the difference of near numbers exactly."""
    return _wide(m.weight_after) - _wide(m.weight)


def saturated_and_dead(kind: Kind, u_SMBU: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fraction of entries with |phi'| < 5% of its maximum, and that of dead units.

    A unit is dead if phi' is exactly 0 for every sample of the batch. Each is [S, M] float64.
    """
    if kind.activation is None:
        zero = u_SMBU.new_zeros(u_SMBU.shape[:2], dtype=torch.float64)
        return zero, zero
    if type(kind.activation) is nn.ReLU:  # whose phi' is 0 or 1: one count tells both
        off_SMU, batch = _truth(torch.le, u_SMBU, 0.0).sum(-2), u_SMBU.shape[-2]
        return off_SMU.double().mean(-1) / batch, (off_SMU == batch).double().mean(-1)
    slope = derivative(kind.activation, u_SMBU).abs_()
    saturated = _share(torch.lt, slope, SATURATED_BELOW * kind.steepest)
    return saturated, (slope.amax(-2) == 0).double().mean(-1)


def nonfinite(norms: Tensor, grads: Sequence[Tensor]) -> Tensor:
    """Return the share of entries that are inf or NaN: none, if the norm is finite."""
    if not norms.is_cuda and norms.isfinite().all():
        return torch.zeros_like(norms)
    return torch.cat([(~grad.isfinite()).double().mean((-2, -1)) for grad in grads])


def _share(holds: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    return _average(_truth(holds, x, limit))


def _average(x: Tensor) -> Tensor:
    return total(x) / (x.shape[-1] * x.shape[-2])


def _truth(holds: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    """Return 1 where `holds(x, limit)`: as floats truths are summed ten times as fast."""
    return holds(x, limit, out=torch.empty_like(x, dtype=torch.float32))


def _wide(x: Tensor) -> Tensor:
    """Return x in the dtype that is calculated with: float32 has enough, smaller ones have not."""
    return x if x.dtype == torch.float32 else x.double()
