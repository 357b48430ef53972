"""From what passes over the tensors of layers tell to the schema's columns: pure, and small.

Shape suffixes: S site, M member, B batch, U unit, O output unit, I input unit, C column. Where a
square was lost, or the digits of a difference of squares, the tensors are gone over again.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradlab import schema
from gradlab.recording.norms import matrix_norm, norm, repaired, settled
from gradlab.recording.sums import Kind, Measured, Sums, mean, sums, update

CANCELLED = 0.1  # a difference of squares that is less than this part of them is taken otherwise


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


def block(act_SMBU: Tensor, act_grad_SMBU: Tensor, back_SMBU: Tensor) -> Tensor:
    """Return [S, M, C] of blocks: what leaves them, its gradient, and that of what enters them.

    `weight_factor` is what the block as a whole does to the signal; columns of a linear map are
    NaN. Of a cell, it is c_t that leaves, and c_{t-1}, on its way to c_t alone, that enters.
    """
    act_grad, act_mean = matrix_norm(act_grad_SMBU), mean(act_SMBU)
    known = {
        "act_grad_norm": act_grad,
        "weight_factor": matrix_norm(back_SMBU) / act_grad,
        "act_mean": act_mean,
        "act_std": std(matrix_norm(act_SMBU), act_mean, [act_SMBU]),
    }
    nothing = torch.full_like(act_grad, math.nan)
    return torch.stack([known.get(c.name, nothing) for c in schema.STATISTICS], dim=-1)


def std(norms: Tensor, means: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return the population standard deviation over batch and units, [S, M]."""
    root = math.sqrt(parts[0].shape[-1] * parts[0].shape[-2])

    def centred(x: Tensor) -> Tensor:
        return matrix_norm(x.double() - mean(x.double())[..., None, None], x.dtype) / root

    return _less(norms / root, means, parts, centred)


def spread(norms: Tensor, means_SMI: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return ‖G - its mean over units‖ of gradients G [S, M, O, I]; NaN for a single unit."""
    units = parts[0].shape[-2]
    if units < 2:
        return torch.full_like(norms, math.nan)

    def centred(x: Tensor) -> Tensor:
        y = x.double()
        return matrix_norm(y - y.mean(-2, keepdim=True), x.dtype)

    return _less(norms, norm(means_SMI, -1, parts[0].dtype) * math.sqrt(units), parts, centred)


def _less(
    whole: Tensor, part: Tensor, parts: Sequence[Tensor], exact: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return sqrt(whole² - part²); by `exact` where it is a small difference of large numbers."""
    left = 1 - (part / whole).square()
    return repaired(whole * left.sqrt(), ~(left > CANCELLED), parts, exact)


def nonfinite(norms: Tensor, grads: Sequence[Tensor]) -> Tensor:
    """Return the share of entries that are inf or NaN: none, if the norm is finite."""
    if not norms.is_cuda and norms.isfinite().all():
        return torch.zeros_like(norms)
    return torch.cat([(~grad.isfinite()).double().mean((-2, -1)) for grad in grads])
