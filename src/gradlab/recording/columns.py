"""Computes the columns of `schema.STATISTICS` from tensors.

`gradlab run` measures the layers of a stack of networks at once, with `layer_columns` and
`block_columns`. `gradlab.watch` measures the calls of any module. Both pass norms and means to
`columns_from`, which contains the formula of each column.

Shape suffixes: S module, M member, B batch, U unit, O output unit, I input unit, C column.
Results are [S, M] float64 in every run. Only phi' is computed in the run's dtype, because a unit is
dead when phi' is 0 in the arithmetic of the run.

The first pass over each tensor computes quick sums while the tensor is in the cache. A second pass
repairs results where a square was out of range or a difference of squares lost its digits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradlab import schema
from gradlab.recording.norms import (
    CANCELLED,
    matrix_norm,
    matrix_sum,
    mean,
    norm,
    quick_norm,
    repair,
    repair_norms,
    std_exact,
    widen,
)
from gradlab.recording.rows import NULL, NULL_BITS

SATURATED_BELOW = 0.05  # of the maximum of |phi'|


def is_null(x: Tensor) -> Tensor:
    """Return True where a float64 tensor is `NULL`."""
    return x.view(torch.int64) == NULL_BITS


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide elementwise; `NULL` for 0/0 and where numerator or denominator is `NULL`."""
    zeros = (numerator == 0) & (denominator == 0)
    null = zeros | is_null(numerator) | is_null(denominator)
    return torch.where(null, NULL, numerator / denominator)


def columns_from(known: Mapping[str, Tensor]) -> Tensor:
    """Compute every column from the norms and means of modules.

    Args:
        known: float64 tensors of one shape, such as [S, M], `NULL` where not measured. A name is a
            column of `schema.STATISTICS`, which then replaces its formula, or a norm for the
            ratios: `preact_grad`, `out_grad`, `back` (of W_l^T delta_l), `update` and `spread` (of
            dLoss/dW_l minus its mean over units). A missing name means: not measured.

    Returns:
        The columns in the order of the schema, [S, M, C] float64, `NULL` where not measured.
    """
    null = torch.full_like(next(iter(known.values())), NULL)

    def get(name: str) -> Tensor:
        return known.get(name, null)

    formulas: dict[str, Callable[[], Tensor]] = {
        "act_factor": lambda: ratio(get("preact_grad"), get("act_grad_norm")),
        "weight_factor": lambda: ratio(get("back"), get("delta_norm")),
        "norm_factor": lambda: _product(
            ratio(get("delta_norm"), get("preact_grad")),
            ratio(get("act_grad_norm"), get("out_grad")),
        ),
        "update_ratio": lambda: ratio(get("update"), get("weight_norm")),
        "unit_spread": lambda: ratio(get("spread"), get("weight_grad_norm")),
    }
    names = schema.names(schema.STATISTICS)
    return torch.stack(
        [formulas[n]() if n in formulas and n not in known else get(n) for n in names], dim=-1
    )


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(is_null(a) | is_null(b), NULL, a * b)


@dataclass(frozen=True)
class LayerKind:
    """The properties shared by layers that are measured in one call.

    Attributes:
        activation: phi, or None for a layer without activation.
        steepest: Maximum of |phi'|; NaN for gates, which have no phi'.
        normalised: Whether the layer has a normalisation.
        bias: Whether the layer has a bias.
        weight_count: Number of entries of W_l.
    """

    activation: nn.Module | None
    steepest: float
    normalised: bool
    bias: bool
    weight_count: int


@dataclass(frozen=True)
class LayerTensors:
    """The tensors of layers of one kind, as in the formulas of the columns.

    A layer without activation has `act_grad = preact_grad`. A layer without normalisation has
    `preact_grad = delta`. A layer without bias may have any `bias_grad`.
    """

    # attributes: the tensors in the formulas of the columns

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


class _Sums(NamedTuple):
    """Results of the first pass over the tensors of layers; norms are from `quick_norm`."""

    # attributes: a norm of each tensor, and the other numbers in the formulas of the columns

    delta: Tensor
    preact_grad: Tensor
    act_grad: Tensor
    out_grad: Tensor
    back: Tensor
    weight: Tensor
    weight_grad: Tensor
    update: Tensor  # of W_after - W
    preact: Tensor
    act: Tensor
    preact_mean: Tensor
    act_mean: Tensor
    unit_mean_SMI: Tensor  # mean of dLoss/dW over the layer's units
    bias_grad: Tensor
    zeros: Tensor
    saturated: Tensor
    dead: Tensor


def layer_columns(parts: Sequence[LayerTensors], kind: LayerKind) -> Tensor:
    """Compute the columns of layers of one kind.

    Args:
        parts: Tensors of the layers, divided along S into parts that fit the cache.
        kind: The properties that the layers share.

    Returns:
        The columns, [S, M, C] float64, `NULL` where not measured.
    """
    sums = _Sums(*map(torch.cat, zip(*(_sums(part, kind) for part in parts), strict=True)))

    def norms(name: str) -> Tensor:
        return repair_norms(getattr(sums, name), [getattr(part, name) for part in parts])

    preacts, acts, grads = (
        [getattr(part, name) for part in parts] for name in ("preact", "act", "weight_grad")
    )
    weight_grad = norms("weight_grad")
    one = torch.ones_like(weight_grad)
    known = {
        "weight_grad_norm": weight_grad,
        "delta_norm": norms("delta"),
        "preact_grad": norms("preact_grad"),
        "act_grad_norm": norms("act_grad"),
        "out_grad": norms("out_grad"),
        "back": norms("back"),
        "preact_mean": sums.preact_mean,
        "preact_std": std(norms("preact"), sums.preact_mean, preacts),
        "act_mean": sums.act_mean,
        "act_std": std(norms("act"), sums.act_mean, acts),
        "saturated": sums.saturated,
        "dead": sums.dead,
        "weight_norm": norms("weight"),
        "update": repair_norms(sums.update, (_update(part) for part in parts)),
        "weight_count": one * kind.weight_count,
        "grad_zeros": sums.zeros,
        "grad_nonfinite": nonfinite(weight_grad, grads),
    }
    if grads[0].shape[-2] > 1:
        known["spread"] = spread(weight_grad, sums.unit_mean_SMI, grads)
    if kind.bias:
        known["bias_grad_norm"] = sums.bias_grad
    if kind.activation is None:
        known["act_factor"] = one
    if not kind.normalised:
        known["norm_factor"] = one
    return columns_from(known)


def block_columns(act_SMBU: Tensor, act_grad_SMBU: Tensor, back_SMBU: Tensor) -> Tensor:
    """Compute the columns of blocks, or of the cells of a gated layer.

    Args:
        act_SMBU: Output of the block; for a cell, c_t.
        act_grad_SMBU: Gradient of the mean loss with respect to the output.
        back_SMBU: Gradient with respect to the input; for a cell, with respect to c_{t-1}, through
            the direct path to c_t only.

    Returns:
        The columns, [S, M, C] float64; columns that describe a linear map are `NULL`.
    """
    act_grad, act_mean = matrix_norm(act_grad_SMBU), mean(act_SMBU)
    return columns_from(
        {
            "act_grad_norm": act_grad,
            "weight_factor": ratio(matrix_norm(back_SMBU), act_grad),
            "act_mean": act_mean,
            "act_std": std(matrix_norm(act_SMBU), act_mean, [act_SMBU]),
        }
    )


def _sums(part: LayerTensors, kind: LayerKind) -> _Sums:
    delta = quick_norm(part.delta)
    preact_grad = delta if part.preact_grad is part.delta else quick_norm(part.preact_grad)
    act_grad = preact_grad if part.act_grad is part.preact_grad else quick_norm(part.act_grad)
    preact, preact_mean = quick_norm(part.preact), mean(part.preact)
    same = part.act is part.preact
    return _Sums(
        delta,
        preact_grad,
        act_grad,
        act_grad if part.out_grad is part.act_grad else quick_norm(part.out_grad),
        quick_norm(part.back),
        quick_norm(part.weight),
        quick_norm(part.weight_grad),
        quick_norm(_update(part), part.weight.dtype),
        preact,
        preact if same else quick_norm(part.act),
        preact_mean,
        preact_mean if same else mean(part.act),
        widen(part.weight_grad).mean(-2),
        norm(part.bias_grad, -1),
        _fraction(torch.eq, part.weight_grad, 0.0),
        *saturated_and_dead(kind, part.preact),
    )


def _update(part: LayerTensors) -> Tensor:
    """Return W_after - W, [S, M, O, I]; in float32, the difference of close numbers is exact."""
    return widen(part.weight_after) - widen(part.weight)


def std(norms: Tensor, means: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return the population standard deviation over the last two dimensions.

    Args:
        norms: Norms of the tensors, [S, M].
        means: Means of the tensors, [S, M].
        parts: The tensors [S, M, B, U], divided along S.

    Returns:
        The standard deviations, [S, M] float64.
    """
    root = math.sqrt(parts[0].shape[-1] * parts[0].shape[-2])
    return subtract_norms(norms / root, means, parts, std_exact)


def spread(norms: Tensor, means_SMI: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Return ‖G - its mean over units‖ of weight gradients G.

    Args:
        norms: Norms of the gradients, [S, M].
        means_SMI: Means of the gradients over units, [S, M, I].
        parts: The gradients [S, M, O, I], divided along S.

    Returns:
        The norms of the deviations, [S, M] float64.
    """

    def centred(x: Tensor) -> Tensor:
        y = x.double()
        return matrix_norm(y - y.mean(-2, keepdim=True), x.dtype)

    root = math.sqrt(parts[0].shape[-2])
    return subtract_norms(norms, norm(means_SMI, -1, parts[0].dtype) * root, parts, centred)


def subtract_norms(
    whole: Tensor, part: Tensor, tensors: Sequence[Tensor], exact: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return sqrt(whole² - part²), and the exact value where digits cancel or a square overflows.

    Args:
        whole: Norms of the tensors, [S, M].
        part: Norms of a component of each tensor that is orthogonal to the rest, [S, M].
        tensors: The tensors, divided along S.
        exact: Computes the exact value from tensors [N, ...].

    Returns:
        The norms of the rest, [S, M] float64.
    """
    left = 1 - (part / whole).square()
    return repair(whole * left.sqrt(), ~(left > CANCELLED) | whole.isinf(), tensors, exact)


def nonfinite(norms: Tensor, grads: Sequence[Tensor]) -> Tensor:
    """Return the fraction of entries that are inf or NaN, [S, M]; 0 where the norm is finite."""
    if not norms.is_cuda and norms.isfinite().all():
        return torch.zeros_like(norms)
    return torch.cat([(~grad.isfinite()).double().mean((-2, -1)) for grad in grads])


def saturated_and_dead(kind: LayerKind, u_SMBU: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fractions of saturated entries and of dead units, each [S, M] float64.

    An entry is saturated if |phi'| is below 5% of its maximum. A unit is dead if phi' is exactly 0
    for every sample of the batch.
    """
    if kind.activation is None:
        zero = u_SMBU.new_zeros(u_SMBU.shape[:2], dtype=torch.float64)
        return zero, zero
    if math.isnan(kind.steepest):  # gates are not elementwise functions of u
        null = u_SMBU.new_full(u_SMBU.shape[:2], NULL, dtype=torch.float64)
        return null, null
    if type(kind.activation) is nn.ReLU:  # phi' is 0 or 1: one count gives both
        off_SMU, batch = _mask(torch.le, u_SMBU, 0.0).sum(-2), u_SMBU.shape[-2]
        return off_SMU.double().mean(-1) / batch, (off_SMU == batch).double().mean(-1)
    slope = derivative(kind.activation, u_SMBU).abs_()
    saturated = _fraction(torch.lt, slope, SATURATED_BELOW * kind.steepest)
    return saturated, (slope.amax(-2) == 0).double().mean(-1)


def _fraction(compare: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    """Return the fraction of entries, over the last two dimensions, that pass a comparison.

    Args:
        compare: A comparison of torch, such as `torch.lt`.
        x: Tensor [S, M, ., .].
        limit: Second operand of the comparison.

    Returns:
        The fractions, [S, M] float64.
    """
    return matrix_sum(_mask(compare, x, limit)) / (x.shape[-1] * x.shape[-2])


def _mask(compare: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    """Return a comparison as float32, which torch sums ten times as fast as bool.

    Args:
        compare: A comparison of torch, such as `torch.lt`.
        x: Tensor of any shape.
        limit: Second operand of the comparison.

    Returns:
        A tensor of x's shape: 1 where the comparison holds, else 0.
    """
    return compare(x, limit, out=torch.empty_like(x, dtype=torch.float32))


def derivative(activation: nn.Module, u: Tensor) -> Tensor:
    """Return phi'(u), elementwise, by autograd and in u's dtype."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        # an in-place activation gets a copy
        out = activation(u.clone() if getattr(activation, "inplace", False) else u)
        (slope,) = torch.autograd.grad(out, u, torch.ones_like(out))
    return slope


def steepest_slope(activation: nn.Module) -> float:
    """Return max |phi'| on [-20, 20], where every activation of gradlab has its maximum."""
    grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    return float(derivative(activation, grid).abs().max())
