"""Losses: a mean over the batch of f(output [B, n_out], target).

Targets are class indices [B] (int64) in classification, numbers [B, n_out] in regression. A loss
that compares numbers turns class indices into one-hot rows.
"""

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples of -log softmax(output)[target]."""
    return F.cross_entropy(output, target)


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples *and* outputs of the squared error, as torch does."""
    return F.mse_loss(output, _numbers(target, output))


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples *and* outputs of the binary cross-entropy on logits.

    Each output is a logit of its own: class k against the rest.
    """
    return F.binary_cross_entropy_with_logits(output, _numbers(target, output))


def _numbers(target: Tensor, output: Tensor) -> Tensor:
    if target.is_floating_point():
        return target
    classes = output.shape[-1]
    steps = output.new_ones(classes).cumsum(0).long() - 1  # arange, in a form that vmap can batch
    return (target[..., None] == steps).to(output.dtype)
