"""Summaries of gradients: norm and sum, to detect changes without a copy."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import hypot

import torch
from torch import Tensor
from torch.optim import Optimizer

Fingerprints = Mapping[int, tuple[float, float] | None]
"""Norm and sum of each weight's gradient, by `id`; None for a weight without a gradient."""


def fingerprints(weights: Iterable[Tensor]) -> Fingerprints:
    """Return the norm and the sum of each weight's gradient; None for a missing gradient."""
    weights = [*weights]
    with torch.no_grad():
        grads = [(w, _flat_double(w.grad)) for w in weights if w.grad is not None]
        rows = [torch.stack([g.norm(), g.sum()]).cpu() for _, g in grads]
    numbers = torch.stack(rows).tolist() if rows else []
    found = {id(w): (a, b) for (w, _), (a, b) in zip(grads, numbers, strict=True)}
    return {id(w): found.get(id(w)) for w in weights}


def _flat_double(grad: Tensor) -> Tensor:
    grad = grad.detach()
    return (grad.coalesce().values() if grad.is_sparse else grad).double().flatten()


def total_norm(found: Fingerprints, weights: Iterable[int] | None = None) -> float:
    """Return the norm of all gradients together, or of the gradients of some weights."""
    chosen = found if weights is None else [each for each in weights if each in found]
    return hypot(*[found[each][0] for each in chosen if found[each] is not None])  # type: ignore


def is_cleared(found: Fingerprints, weight: int) -> bool:
    """Return whether the gradient of a weight is missing or exactly 0."""
    one = found.get(weight)
    return one is None or one[0] == 0


class EqualWeights:
    """Measures how far the gradients differ within weights that start with equal entries."""

    def __init__(self) -> None:
        self._equal_rows: dict[int, set[int]] = {}
        self._constant: dict[int, set[int]] = {}

    def row_agreement(self, optimizer: Optimizer, weights: Sequence[Tensor]) -> Mapping[int, float]:
        """Return the agreement of the gradient's rows, for weights that started with equal rows."""
        return _measure(self._equal_rows, optimizer, weights, _has_equal_rows, _row_agreement)

    def column_spread(self, optimizer: Optimizer, weights: Sequence[Tensor]) -> Mapping[int, float]:
        """Return the spread of the gradient's columns, for weights that started constant."""
        return _measure(self._constant, optimizer, weights, _is_constant, _column_spread)


def _measure(
    memory: dict[int, set[int]],
    optimizer: Optimizer,
    weights: Sequence[Tensor],
    condition: Callable[[Tensor], bool],
    measure: Callable[[Tensor], float],
) -> Mapping[int, float]:
    """Measure the gradients of the weights that met a condition at the optimiser's first step.

    Args:
        memory: the weights that met the condition, by optimiser; filled at its first step.
        optimizer: the optimiser, before its step.
        weights: its weights.
        condition: the condition, a function of a weight.
        measure: the measure, a function of a dense float64 gradient.

    Returns:
        The measure by `id` of the weight.
    """
    with_grad = [w for w in weights if w.grad is not None]
    if id(optimizer) not in memory:
        memory[id(optimizer)] = {id(w) for w in with_grad if condition(w.detach())}
    selected = [w for w in with_grad if id(w) in memory[id(optimizer)]]
    return {id(w): measure(_dense(w.grad)) for w in selected if w.grad is not None}


def _dense(grad: Tensor) -> Tensor:
    return (grad.to_dense() if grad.is_sparse else grad).detach().double()


def _has_equal_rows(w: Tensor) -> bool:
    """Return whether a matrix has at least two rows and all are equal."""
    if w.ndim < 2 or len(w) < 2 or w.is_sparse:
        return False
    return bool((w[0] == w[1]).all()) and bool((w == w[:1]).all())


def _is_constant(w: Tensor) -> bool:
    """Return whether a matrix has at least two columns and all entries are equal."""
    if w.ndim != 2 or not len(w) or w.shape[1] < 2 or w.is_sparse:
        return False
    return bool((w[0] == w[0, 0]).all()) and bool((w == w[0, 0]).all())


def _row_agreement(grad: Tensor) -> float:
    """Return the norm of the mean of the rows' unit vectors: 1 if parallel, or if all are 0."""
    rows = grad.flatten(1)
    norms = rows.norm(dim=1)
    rows = rows[norms > 0] / norms[norms > 0].unsqueeze(1)
    return float(rows.mean(0).norm()) if len(rows) else 1.0


def _column_spread(grad: Tensor) -> float:
    """Return the norm of the columns minus their mean, over the gradient's norm.

    A gradient of 0 gives 1, which means no evidence: perhaps the batch did not use the weight.
    """
    norm = float(grad.norm())
    return float((grad - grad.mean(1, keepdim=True)).norm()) / norm if norm else 1.0
