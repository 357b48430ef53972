"""Memory of the graph that NumPy was given, and whether writing to it changes the gradient."""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.trace import Cut

MOST = 64  # detached tensors that are remembered, and arrays; those of a step are few


@dataclass(frozen=True)
class _Loan:
    """An array's tensor, and the numbers in it when it was made."""

    event: Cut
    tensor: Tensor
    numbers: Tensor


class Lent:
    """Follows `z.detach().numpy()`: autograd does not see what is written to such an array."""

    def __init__(self) -> None:
        self.detached: deque[tuple[Cut, Tensor]] = deque(maxlen=MOST)
        self.loans: deque[_Loan] = deque(maxlen=MOST)

    def forget(self) -> None:
        """Let go of all tensors."""
        self.detached.clear()
        self.loans.clear()

    def lend(self, now: Cut, tensor: Tensor) -> None:
        """Take the moment when a tensor becomes an array, if it is one of the graph's, detached."""
        for event, alias in self.detached:
            if alias.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
                numbers = tensor.detach().clone()
                self.loans.append(_Loan(replace(now, reaches=event.reaches), tensor, numbers))
                return

    def overwritten(self, roots: list[Tensor]) -> list[Cut]:
        """Return the loans that were written to, if the roots' gradients change by it."""
        changed = [each for each in self.loans if not _same(each.tensor, each.numbers)]
        found = changed if changed and _matters(changed, roots) else []
        self.forget()
        return [replace(each.event, written=True) for each in found]


def _matters(loans: list[_Loan], roots: list[Tensor]) -> bool:
    """Say whether the gradients are others with the numbers as they were; they stay as they are."""
    try:
        now = _gradients(roots)
        written = [each.tensor.clone() for each in loans]
        for each in reversed(loans):  # the first one knows the numbers before all writing
            _write(each.tensor, each.numbers)
        try:
            then = _gradients(roots)
        finally:
            for each, numbers in zip(loans, written, strict=True):
                _write(each.tensor, numbers)
    except RuntimeError:  # a graph that may be walked only once, or one that is broken
        return False
    return not all(map(_same, now, then))


def _gradients(roots: list[Tensor]) -> list[Tensor]:
    """Return the gradients of the roots by the leaves, and leave the graph as it is."""
    nodes = [node for root in roots for node in autograd_graph.nodes(root)]
    leaves = [node.variable for node in nodes if hasattr(node, "variable")]
    ones = [torch.ones_like(root) for root in roots]
    found: Any = torch.autograd.grad(roots, leaves, ones, retain_graph=True, allow_unused=True)
    return [each for each in found if each is not None]


def _write(tensor: Tensor, numbers: Tensor) -> None:
    """Write past autograd, as the array's owner did."""
    tensor.numpy()[...] = numbers.numpy()


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
