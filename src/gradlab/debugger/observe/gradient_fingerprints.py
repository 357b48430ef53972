"""Gradients told apart by size and sum, so that two moments can be compared without copies."""

from collections.abc import Iterable, Mapping
from math import hypot

import torch
from torch import Tensor

Prints = Mapping[int, tuple[float, float] | None]  # by id of the weight: norm and sum, or no .grad


def prints(weights: Iterable[Tensor]) -> Prints:
    """Return the norm and the sum of each weight's gradient, None where there is none."""
    weights = [*weights]
    with torch.no_grad():
        held = [(w, _dense(w.grad)) for w in weights if w.grad is not None]
        rows = [torch.stack([g.norm(), g.sum()]).cpu() for _, g in held]
    numbers = torch.stack(rows).tolist() if rows else []
    found = {id(w): (a, b) for (w, _), (a, b) in zip(held, numbers, strict=True)}
    return {id(w): found.get(id(w)) for w in weights}


def _dense(grad: Tensor) -> Tensor:
    grad = grad.detach()
    return (grad.coalesce().values() if grad.is_sparse else grad).double().flatten()


def total(found: Prints, of: Iterable[int] | None = None) -> float:
    """Return the norm of all gradients together."""
    chosen = found if of is None else [each for each in of if each in found]
    return hypot(*[found[each][0] for each in chosen if found[each] is not None])  # type: ignore


def is_cleared(found: Prints, weight: int) -> bool:
    """Say whether a weight has no gradient, or one that is exactly zero."""
    one = found.get(weight)
    return one is None or one[0] == 0
