"""Losses: a mean over the batch of f(output [B, n_out], target).

Targets are class indices [B] (int64) in classification, numbers [B, n_out] in regression. Where a
sequence has a target per step, outputs are [B, T, n_out] and targets [B, T], and the mean over
samples includes the steps. A loss that compares numbers turns class indices into one-hot rows.
`gradlab.reference.loss_functions` has the same losses with their derivatives in NumPy, and explains
why the naive forms fail.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples of -log softmax(output)[target]; or of target probabilities."""
    classes = target.ndim < output.ndim
    return F.cross_entropy(
        output.flatten(0, -2), target.flatten() if classes else target.flatten(0, -2)
    )


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples *and* outputs of the squared error, as torch does."""
    return F.mse_loss(output, _numbers(target, output))


def huber(output: Tensor, target: Tensor, *, delta: float) -> Tensor:
    """Return the mean over samples *and* outputs of e²/2, straight beyond delta (Huber 1964)."""
    return F.huber_loss(output, _numbers(target, output), delta=delta)


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples *and* outputs of the binary cross-entropy on logits.

    Each output is a separate logit: class k against the rest.
    """
    return F.binary_cross_entropy_with_logits(output, _numbers(target, output))


def focal(output: Tensor, target: Tensor, *, gamma: float) -> Tensor:
    """Return the mean over samples of -(1 - p)^gamma log p, p = softmax(output)[target].

    Lin et al. 2017, eq. 4. 1 - p is formed from the other classes' logits, so that neither it nor
    its gradient loses its digits where p rounds to 1.
    """
    y = _numbers(target, output)
    # The odds of all other classes together: p = sigmoid(-odds).
    odds = output.masked_fill(y > 0, -torch.inf).logsumexp(-1) - (y * output).sum(-1)
    log_p, log_rest = F.logsigmoid(-odds), F.logsigmoid(odds)
    return -((gamma * log_rest).exp() * log_p).mean()


def binary_focal(output: Tensor, target: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Return the mean over samples *and* outputs of -w (1 - p)^gamma log p on logits.

    Lin et al. 2017, eq. 5: p = sigmoid(z) and w = alpha where the target is 1, p = sigmoid(-z) and
    w = 1 - alpha where it is 0. Each output is a separate logit, as in `bce`.
    """
    y = _numbers(target, output)
    log_p, log_rest = F.logsigmoid(output), F.logsigmoid(-output)
    yes, no = (gamma * log_rest).exp() * log_p, (gamma * log_p).exp() * log_rest
    return -(alpha * y * yes + (1 - alpha) * (1 - y) * no).mean()


def _numbers(target: Tensor, output: Tensor) -> Tensor:
    if target.is_floating_point():
        return target
    classes = output.shape[-1]
    steps = output.new_ones(classes).cumsum(0).long() - 1  # arange, in a form that vmap can batch
    return (target[..., None] == steps).to(output.dtype)
