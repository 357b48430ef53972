"""Losses: a mean over the batch of f(output [B, n_out], target).

Targets are class indices [B] (int64) in classification, numbers [B, n_out] in regression. If each
step of a sequence has a target, outputs are [B, T, n_out] and targets [B, T], and the mean over
samples includes the steps. A loss that compares numbers turns class indices into one-hot rows.
`gradlab.reference.loss_functions` computes the same losses and their derivatives in NumPy, and
explains why the naive forms fail.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples of -log softmax(output)[target].

    If the targets are probabilities, return the mean of -Σ target log softmax(output).
    """
    classes = target.ndim < output.ndim
    return F.cross_entropy(
        output.flatten(0, -2), target.flatten() if classes else target.flatten(0, -2)
    )


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples *and* outputs of the squared error, as torch does."""
    return F.mse_loss(output, _numbers(target, output))


def huber(output: Tensor, target: Tensor, *, delta: float) -> Tensor:
    """Return the mean over samples *and* outputs of e²/2, linear beyond delta (Huber 1964).

    Args:
        output: numbers, [B, n_out].
        target: numbers [B, n_out], or class indices [B].
        delta: the largest error that is squared, in the unit of the targets.

    Returns:
        The mean, a scalar.
    """
    return F.huber_loss(output, _numbers(target, output), delta=delta)


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples *and* outputs of the binary cross-entropy on logits.

    Each output is a separate logit: class k against the rest.
    """
    return F.binary_cross_entropy_with_logits(output, _numbers(target, output))


def focal(output: Tensor, target: Tensor, *, gamma: float) -> Tensor:
    """Return the mean over samples of -(1 - p)^gamma log p, p = softmax(output)[target].

    1 - p is computed from the logits of the other classes. So 1 - p and its gradient keep their
    precision where p rounds to 1.

    Source: Lin et al. 2017, eq. 4.

    Args:
        output: logits, [B, n_out].
        target: class indices, [B].
        gamma: the exponent; 0 gives the cross-entropy.

    Returns:
        The mean, a scalar.
    """
    y = _numbers(target, output)
    # The odds of all other classes together: p = sigmoid(-odds).
    odds = output.masked_fill(y > 0, -torch.inf).logsumexp(-1) - (y * output).sum(-1)
    log_p, log_rest = F.logsigmoid(-odds), F.logsigmoid(odds)
    return -((gamma * log_rest).exp() * log_p).mean()


def binary_focal(output: Tensor, target: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Return the mean over samples *and* outputs of -w (1 - p)^gamma log p on logits.

    Where the target is 1, p = sigmoid(z) and w = alpha. Where it is 0, p = sigmoid(-z) and
    w = 1 - alpha. Each output is a separate logit, as in `bce`.

    Source: Lin et al. 2017, eq. 5.

    Args:
        output: logits, [B, n_out].
        target: class indices [B], or numbers [B, n_out].
        gamma: the exponent; 0 gives a weighted `bce`.
        alpha: the weight of targets 1.

    Returns:
        The mean, a scalar.
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
