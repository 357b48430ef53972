"""Pure statistics of the signals and parameters of layers: tensors in, the schema's columns out.

Shape suffixes: S site, M member, B batch, U unit, O output unit, I input unit. Sites of one shape
are measured together. Everything is computed in float64 whatever the run's dtype, except phi',
which is that of the run's dtype: a unit is dead when *its* arithmetic says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradlab import schema
from gradlab.record.norms import matrix_norm, norm
from gradlab.record.slopes import derivative

SATURATED_BELOW = 0.05  # of the maximum of |phi'|


@dataclass(frozen=True)
class Measured:
    """The tensors of sites of one shape. `None`: the sites have no such part."""

    preact_SMBU: Tensor
    act_SMBU: Tensor
    back_SMBI: Tensor
    delta_SMBU: Tensor
    preact_grad_SMBU: Tensor
    act_grad_SMBU: Tensor
    out_grad_SMBU: Tensor
    weight_SMOI: Tensor
    weight_after_SMOI: Tensor
    weight_grad_SMOI: Tensor
    bias_grad_SMO: Tensor | None
    activation: nn.Module | None
    steepest: float
    normalised: bool


def columns(m: Measured) -> Tensor:
    """Return [S, M, C] float64: the columns of `schema.STATISTICS`, in that order.

    Undefined ratios (0/0) are NaN.
    """
    delta, act_grad = matrix_norm(m.delta_SMBU), matrix_norm(m.act_grad_SMBU)
    preact_grad = delta if m.preact_grad_SMBU is m.delta_SMBU else matrix_norm(m.preact_grad_SMBU)
    out_grad = act_grad if m.out_grad_SMBU is m.act_grad_SMBU else matrix_norm(m.out_grad_SMBU)
    weight, grad = m.weight_SMOI, m.weight_grad_SMOI
    weight_norm = matrix_norm(weight)
    grad_norm = matrix_norm(grad)
    one = torch.ones_like(delta)
    preact_mean, preact_std = mean_std(m.preact_SMBU)
    act_mean, act_std = mean_std(m.act_SMBU)
    saturated, dead = saturated_and_dead(m.activation, m.steepest, m.preact_SMBU)
    values = {
        "weight_grad_norm": grad_norm,
        "bias_grad_norm": one * math.nan if m.bias_grad_SMO is None else norm(m.bias_grad_SMO, -1),
        "delta_norm": delta,
        "act_grad_norm": act_grad,
        "act_factor": one if m.activation is None else preact_grad / act_grad,
        "weight_factor": matrix_norm(m.back_SMBI) / delta,
        "norm_factor": delta / preact_grad * (act_grad / out_grad) if m.normalised else one,
        "preact_mean": preact_mean,
        "preact_std": preact_std,
        "act_mean": act_mean,
        "act_std": act_std,
        "saturated": saturated,
        "dead": dead,
        "weight_norm": weight_norm,
        "update_ratio": _difference(m.weight_after_SMOI, weight) / weight_norm,
        "weight_count": one * (weight.shape[-1] * weight.shape[-2]),
        "unit_spread": unit_spread(grad, grad_norm),
        "grad_zeros": _share(torch.eq, grad, 0.0),
        "grad_nonfinite": _nonfinite(grad, grad_norm),
    }
    return torch.stack([values[column.name] for column in schema.STATISTICS], dim=-1)


def block(act_SMBU: Tensor, act_grad_SMBU: Tensor, back_SMBU: Tensor) -> Tensor:
    """Return [S, M, C] of blocks: what leaves them, its gradient, and that of what enters them.

    Of the columns that need a linear map, `weight_factor` is what the block as a whole does to the
    signal, and the others are NaN.
    """
    act_grad = matrix_norm(act_grad_SMBU)
    mean, std = mean_std(act_SMBU)
    factor = matrix_norm(back_SMBU) / act_grad
    known = {"act_grad_norm": act_grad, "act_mean": mean, "act_std": std, "weight_factor": factor}
    nothing = torch.full_like(act_grad, math.nan)
    return torch.stack([known.get(c.name, nothing) for c in schema.STATISTICS], dim=-1)


def mean_std(x_SMBU: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and population standard deviation over batch and units, each [S, M] float64."""
    x = x_SMBU if x_SMBU.dtype == torch.float32 else x_SMBU.double()
    mean = x.mean(-1).double().mean(-1)
    centred = x - mean[..., None, None].to(x.dtype)
    count = x.shape[-1] * x.shape[-2]
    return mean, matrix_norm(centred, x_SMBU.dtype) / math.sqrt(count)


def saturated_and_dead(
    activation: nn.Module | None, steepest: float, u_SMBU: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the fraction of entries with |phi'| < 5% of its maximum, and that of dead units.

    A unit is dead if phi' is exactly 0 for every sample of the batch. Each is [S, M] float64.
    """
    if activation is None:
        zero = torch.zeros(u_SMBU.shape[:2], dtype=torch.float64, device=u_SMBU.device)
        return zero, zero
    if math.isnan(steepest):  # no elementwise function has it
        none = torch.full(u_SMBU.shape[:2], math.nan, dtype=torch.float64, device=u_SMBU.device)
        return none, none
    slope = derivative(activation, u_SMBU).abs()
    saturated = _share(torch.lt, slope, SATURATED_BELOW * steepest)
    return saturated, (slope.amax(dim=-2) == 0).double().mean(-1)


def unit_spread(grad_SMOI: Tensor, grad_norm_SM: Tensor) -> Tensor:
    """Return ‖G - its mean over units‖ / ‖G‖ of gradients G, [S, M]; NaN for one unit, or 0/0."""
    if grad_SMOI.shape[-2] < 2:
        return torch.full_like(grad_norm_SM, math.nan)
    grad = grad_SMOI if grad_SMOI.dtype == torch.float32 else grad_SMOI.double()
    return matrix_norm(grad - grad.mean(-2, keepdim=True)) / grad_norm_SM


def _difference(after: Tensor, before: Tensor) -> Tensor:
    """Return the norm of after - before; float32 has the difference of near numbers exactly."""
    if after.dtype == torch.float32:
        return matrix_norm(after - before)
    return matrix_norm(after.double() - before.double(), after.dtype)


def _share(holds: Callable[..., Tensor], x: Tensor, limit: float) -> Tensor:
    """Return the share of entries for which `holds(x, limit)`; as floats they are summed faster."""
    truth = torch.empty_like(x, dtype=torch.float32)
    return holds(x, limit, out=truth).sum(-1).double().mean(-1) / x.shape[-1]


def _nonfinite(grad: Tensor, grad_norm: Tensor) -> Tensor:
    """Return the share of entries that are inf or NaN: none, if the norm is finite."""
    if grad.device.type == "cpu" and bool(grad_norm.isfinite().all()):
        return torch.zeros_like(grad_norm)
    return (~grad.isfinite()).double().mean((-2, -1))
