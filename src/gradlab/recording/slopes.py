"""The derivative of any elementwise activation."""

import torch
from torch import Tensor, nn


def derivative(activation: nn.Module, u: Tensor) -> Tensor:
    """Return phi'(u), elementwise, by autograd and in u's dtype."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        # A copy, for activations that work in place.
        out = activation(u.clone() if getattr(activation, "inplace", False) else u)
        (slope,) = torch.autograd.grad(out, u, torch.ones_like(out))
    return slope


def steepest_slope(activation: nn.Module) -> float:
    """Return max |phi'| on [-20, 20], which holds the maximum of every activation in use."""
    grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    return float(derivative(activation, grid).abs().max())
