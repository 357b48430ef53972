"""Autograd's graph, walked from a tensor back to what it was made of."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from gradlab.debugger.observe.source_lines import Place

FEW = 2  # graphs: those of the last update, and of what was computed after it

# Nodes that move or copy numbers and leave each as it is.
SHAPING = (
    "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "T", "Permute", "Clone",
    "Alias", "Slice", "Select", "Index", "Expand", "AsStrided", "ToCopy", "Flatten", "Contiguous",
    "Cat", "Stack", "Split", "Unbind", "Copy",
)  # fmt: skip


def nodes(tensor: Tensor) -> list[Any]:
    """Return all nodes of a tensor's graph, the last operation first."""
    seen: dict[Any, None] = {}
    waiting: list[Any] = [] if tensor.grad_fn is None else [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += [other for other, _ in node.next_functions if other is not None]
    return [*seen]


def leaves(tensor: Tensor) -> frozenset[int]:
    """Return the ids of the leaves that a gradient from this tensor arrives at."""
    if tensor.grad_fn is None:
        return frozenset({id(tensor)} if tensor.requires_grad else ())
    return frozenset(id(node.variable) for node in nodes(tensor) if hasattr(node, "variable"))


def kind(node: Any) -> str:
    """Return a node's operation: `Sigmoid` of SigmoidBackward0."""
    return node.name().rpartition("::")[2].partition("Backward")[0]


def origins(tensor: Tensor, through: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """Yield the nodes that computed a tensor's numbers, seen through those that only move them.

    `through` names further nodes to look through.
    """
    waiting: list[Any] = [tensor.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if kind(node) in SHAPING or (through is not None and through(node)):
            waiting += [other for other, _ in node.next_functions]
        else:
            yield node


def is_sigmoid(node: Any) -> bool:
    """Say whether a node is a sigmoid: torch's, or 1 / (1 + exp(-z)), or exp(z) / (1 + exp(z))."""
    if kind(node) == "Sigmoid":
        return True
    inputs = [other for other, _ in node.next_functions]
    above, below = (None, *inputs) if kind(node) == "Reciprocal" else (*inputs, None, None)[:2]
    if kind(node) not in ("Reciprocal", "Div") or below is None or kind(below) != "Add":
        return False
    terms = [other for other, _ in below.next_functions if other is not None]
    return len(terms) == 1 and kind(terms[0]) == "Exp" and (above is None or kind(above) == "Exp")


def own_leaves(node: Any) -> list[Tensor]:
    """Return the leaves that an operation takes directly: a linear map's weight and bias."""
    found: list[Tensor] = []
    for other in [each for each, _ in node.next_functions if each is not None]:
        if kind(other) in ("T", "Transpose", "Permute"):
            found += own_leaves(other)
        elif hasattr(other, "variable"):
            found.append(other.variable)
    return found


def remember(tensor: Tensor, place: Place, scalar: tuple[bool, int] | None = None) -> None:
    """Have the graph remember where a tensor was made, and of a scalar: if a mean, of how many."""
    if tensor.grad_fn is not None:
        node: Any = tensor.grad_fn
        node.metadata["gradlab.place"] = place
        if scalar is not None:
            node.metadata["gradlab.scalar"] = scalar


def made(node: Any) -> Place | None:
    """Return where an operation was called, if the graph remembers it."""
    return node.metadata.get("gradlab.place")


def scalars(tensor: Tensor) -> list[tuple[Any, bool, int]]:
    """Return the nodes of a graph that made a remembered scalar, and what is known of it."""
    found = [(node, node.metadata.get("gradlab.scalar")) for node in nodes(tensor)]
    return [(node, *scalar) for node, scalar in found if scalar is not None]


class _Mark:
    """Lives as long as the node of a graph that it is put on."""


class Marks:
    """Marks on graphs, by the update that they were made for, which tell whether they are held."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, Place, weakref.ref[_Mark]]] = []

    def put(self, update: int, place: Place, *tensors: Any) -> None:
        """Mark the graphs of those that are tensors and have one; `place` is where they were made.

        Where a loss was made, its graph knows better.
        """
        for each in tensors:
            if isinstance(each, Tensor) and each.grad_fn is not None:
                mark = _Mark()
                node: Any = each.grad_fn
                node.metadata["gradlab.mark"] = mark
                self._marks.append((update, made(node) or place, weakref.ref(mark)))

    def alive(self) -> dict[int, Place]:
        """Return the updates of which a graph is still held, and where the last such was made."""
        if len(self._alive()) > FEW:
            gc.collect()  # it takes longer than a step of a small network
        return self._alive()

    def _alive(self) -> dict[int, Place]:
        return {update: place for update, place, mark in self._marks if mark() is not None}
