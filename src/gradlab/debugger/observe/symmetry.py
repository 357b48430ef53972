"""Weights that start alike, and whether their gradients tell them apart."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor
from torch.optim import Optimizer


class Alike:
    """Remembers, for each optimiser, which weights had equal rows, or were one number, at first."""

    def __init__(self) -> None:
        self._rows: dict[int, set[int]] = {}
        self._filled: dict[int, set[int]] = {}

    def rows(self, optimizer: Optimizer, held: Sequence[Tensor]) -> Mapping[int, float]:
        """Return the weights that had equal rows, and how far the rows of their gradients agree."""
        return _seen(self._rows, optimizer, held, _has_equal_rows, _together)

    def columns(self, optimizer: Optimizer, held: Sequence[Tensor]) -> Mapping[int, float]:
        """Return the weights that were one number, and how far their gradient's columns differ."""
        return _seen(self._filled, optimizer, held, _is_one_number, _apart)


def _seen(
    memory: dict[int, set[int]],
    optimizer: Optimizer,
    held: Sequence[Tensor],
    starts: Callable[[Tensor], bool],
    measure: Callable[[Tensor], float],
) -> Mapping[int, float]:
    pulled = [w for w in held if w.grad is not None]
    if id(optimizer) not in memory:
        memory[id(optimizer)] = {id(w) for w in pulled if starts(w.detach())}
    mine = memory[id(optimizer)]
    return {id(w): measure(_dense(w.grad)) for w in pulled if id(w) in mine and w.grad is not None}


def _dense(grad: Tensor) -> Tensor:
    return (grad.to_dense() if grad.is_sparse else grad).detach().double()


def _has_equal_rows(w: Tensor) -> bool:
    """Say whether all rows of a matrix of at least two are equal."""
    if w.ndim < 2 or len(w) < 2 or w.is_sparse:
        return False
    return bool((w[0] == w[1]).all()) and bool((w == w[:1]).all())


def _is_one_number(w: Tensor) -> bool:
    """Say whether all entries of a matrix of at least two columns are equal."""
    if w.ndim != 2 or not len(w) or w.shape[1] < 2 or w.is_sparse:
        return False
    return bool((w[0] == w[0, 0]).all()) and bool((w == w[0, 0]).all())


def _together(grad: Tensor) -> float:
    """Return how far the rows of a gradient agree in direction: 1 if parallel, or all 0."""
    rows = grad.flatten(1)
    norms = rows.norm(dim=1)
    rows = rows[norms > 0] / norms[norms > 0].unsqueeze(1)
    return float(rows.mean(0).norm()) if len(rows) else 1.0


def _apart(grad: Tensor) -> float:
    """Return how far the columns of a gradient differ from their mean, over its norm; 1 if it is 0.

    A gradient of 0 tells nothing: the weights may not have been asked for yet.
    """
    norm = float(grad.norm())
    return float((grad - grad.mean(1, keepdim=True)).norm()) / norm if norm else 1.0
