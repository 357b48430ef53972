"""What the rules of other tools need to know of a layer at one step: tensors in, numbers out."""

import torch
from torch import Tensor

Pair = list[Tensor]  # weight [O, I] and bias [O]


def layer_row(before: Pair, grads: Pair, after: Pair, z: Tensor, delta: Tensor) -> dict[str, float]:
    """Return the numbers of one linear map; `z` and `delta` = dLoss/dz are [B, O]."""
    weight, grad, bias_grad = before[0].double(), grads[0].double(), grads[1].double()
    change = (after[0].double() - weight).abs().mean()
    row = {
        "grad_mean_abs": grad.abs().mean(),
        "grad_mean": grad.mean(),
        "grad_norm": grad.norm(),
        "grad_zeros": (grad == 0).sum() + (bias_grad == 0).sum(),
        "grad_entries": torch.tensor(grad.numel() + bias_grad.numel()),
        "grad_range": _between(grad, 0.05, 0.95),
        # How much the units' gradients differ; 0 if all units are copies of each other.
        "grad_spread": ((grad - grad.mean(0)).norm() / grad.norm()).nan_to_num(0.0),
        "delta_norm": delta.double().norm(),
        "nonfinite": _nonfinite(grad, bias_grad, weight, z),
        "weight_mean_abs": weight.abs().mean(),
        "weight_mean": weight.mean(),
        "weight_norm": weight.norm(),
        "weight_variance": weight.var(correction=0),
        "weight_zeros": (weight.abs() < 1e-5).double().mean(),
        "update_mean_abs": change,
        "update_norm": (after[0].double() - weight).norm(),
        "z_mean": z.double().mean(),
        "z_near_zero": (z.abs() < 1e-6).double().mean(),
        "z_beyond_095": (z.abs() > 0.95).double().mean(),
    }
    return {name: float(value) for name, value in row.items()}


def activation_row(u: Tensor, a: Tensor) -> dict[str, float]:
    """Return the numbers of one activation, from its input and output [B, O]."""
    u, a = u.double(), a.double()
    row = {
        "u_variance": u.var(correction=0),
        "u_beyond_5": (u.abs() >= 5).double().mean(),
        "a_mean": a.mean(),
        "a_near_zero": (a.abs() < 1e-6).double().mean(),
        "a_beyond_095": (a.abs() > 0.95).double().mean(),
        "a_not_positive": (a <= 0).double().mean(),
        # Units that are active for less than 1% of the batch.
        "units_inactive": ((a > 0).double().mean(0) < 0.01).double().mean(),
        # Units whose input is within a range for less than 1% of the batch.
        "units_out_tanh": (_inside(u, -9.4999, 9.4999) < 0.01).double().mean(),
        "units_out_sigmoid": (_inside(u, -23.0, 16.99999) < 0.01).double().mean(),
        # Units with |a| below 1e-5 for 95% of the batch.
        "units_silent": (a.abs().quantile(0.95, dim=0) < 1e-5).double().mean(),
        "units_extreme_sigmoid": (extremity(a) > 0.85).double().mean(),
        "units_extreme_tanh": (extremity((a + 1) / 2) > 0.85).double().mean(),
    }
    return {name: float(value) for name, value in row.items()}


def extremity(a: Tensor) -> Tensor:
    """Return, by unit, the histogram measure rho_B of Rakitianskaia & Engelbrecht 2015.

    50 bins on [0, 1], and one below; the mean over the samples of |2 g - 1|, where g is the mean
    output of the sample's bin.
    """
    bins = (a * 50).floor().add(1).clamp(0, 50).nan_to_num(0).long()
    counts = torch.zeros(51, a.shape[1], dtype=torch.float64)
    sums = counts.clone().scatter_add_(0, bins, a)
    counts = counts.scatter_add_(0, bins, torch.ones_like(a))
    weighted = (2 * sums - counts).abs()  # |2 g - 1| f of each bin, with g = sum / count
    return weighted.sum(0) / len(a)


def _inside(x: Tensor, low: float, high: float) -> Tensor:
    return ((x > low) & (x < high)).double().mean(0)


def _between(x: Tensor, low: float, high: float) -> Tensor:
    ends = x.flatten().quantile(torch.tensor([low, high], dtype=x.dtype))
    return ends[1] - ends[0]


def _nonfinite(*tensors: Tensor) -> Tensor:
    return torch.stack([~x.isfinite().all() for x in tensors]).any()
