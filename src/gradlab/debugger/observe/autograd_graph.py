"""Reads autograd's graph, from a tensor back to its inputs."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from gradlab.debugger.observe.source_lines import SourceLine

FEW = 2  # graphs in memory that are normal: the last step's and a later one

# Operations that move or copy entries and do not change their values.
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
    """Return the ids of the leaves that get a gradient from a tensor's backward pass."""
    if tensor.grad_fn is None:
        return frozenset({id(tensor)} if tensor.requires_grad else ())
    return frozenset(id(node.variable) for node in nodes(tensor) if hasattr(node, "variable"))


def operation(node: Any) -> str:
    """Return a node's operation: `Sigmoid` for SigmoidBackward0."""
    return node.name().rpartition("::")[2].partition("Backward")[0]


def origins(tensor: Tensor, skip: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """Yield the nodes that computed a tensor's values, without operations that only move entries.

    Args:
        tensor: a tensor with a graph.
        skip: returns whether to skip a node as well, and to yield its origins instead.

    Yields:
        The nodes.
    """
    waiting: list[Any] = [tensor.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if operation(node) in SHAPING or (skip is not None and skip(node)):
            waiting += [other for other, _ in node.next_functions]
        else:
            yield node


def is_sigmoid(node: Any) -> bool:
    """Return whether a node is torch's sigmoid, 1 / (1 + exp(-z)) or exp(z) / (1 + exp(z))."""
    if operation(node) == "Sigmoid":
        return True
    inputs = [other for other, _ in node.next_functions]
    above, below = (None, *inputs) if operation(node) == "Reciprocal" else (*inputs, None, None)[:2]
    if operation(node) not in ("Reciprocal", "Div") or below is None or operation(below) != "Add":
        return False
    terms = [other for other, _ in below.next_functions if other is not None]
    is_exp = len(terms) == 1 and operation(terms[0]) == "Exp"
    return is_exp and (above is None or operation(above) == "Exp")


def direct_leaves(node: Any) -> list[Tensor]:
    """Return the leaves among the inputs of an operation, such as a weight and a bias."""
    found: list[Tensor] = []
    for other in [each for each, _ in node.next_functions if each is not None]:
        if operation(other) in ("T", "Transpose", "Permute"):
            found += direct_leaves(other)
        elif hasattr(other, "variable"):
            found.append(other.variable)
    return found


def store_line(tensor: Tensor, line: SourceLine, scalar: tuple[bool, int] | None = None) -> None:
    """Store the line that computed a tensor in its graph.

    Args:
        tensor: the tensor; ignored if it has no graph.
        line: the line.
        scalar: for a mean or a sum: whether it is a mean, and the number of samples.
    """
    if tensor.grad_fn is not None:
        node: Any = tensor.grad_fn
        node.metadata["gradlab.line"] = line
        if scalar is not None:
            node.metadata["gradlab.scalar"] = scalar


def line_of(node: Any) -> SourceLine | None:
    """Return the line that `store_line` stored for an operation, None if there is none."""
    return node.metadata.get("gradlab.line")


def scalars(tensor: Tensor) -> list[tuple[Any, bool, int]]:
    """Return (node, is a mean, samples) for each scalar that `store_line` stored in a graph."""
    found = [(node, node.metadata.get("gradlab.scalar")) for node in nodes(tensor)]
    return [(node, *scalar) for node, scalar in found if scalar is not None]


class _Mark:
    """Lives as long as the graph's node that holds it."""


class GraphMarks:
    """Marks in the graphs of each step, which show whether a graph is still in memory."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, SourceLine, weakref.ref[_Mark]]] = []

    def put(self, step: int, line: SourceLine, *values: Any) -> None:
        """Mark the graphs of the tensors among some values.

        Args:
            step: the number of optimiser steps so far.
            line: the line of the values, used if the graph does not store one.
            values: the values; only tensors with a graph are marked.
        """
        for each in values:
            if isinstance(each, Tensor) and each.grad_fn is not None:
                mark = _Mark()
                node: Any = each.grad_fn
                node.metadata["gradlab.mark"] = mark
                self._marks.append((step, line_of(node) or line, weakref.ref(mark)))

    def live(self) -> dict[int, SourceLine]:
        """Return the steps whose graph is in memory, each with the line of its last value."""
        if len(self._live()) > FEW:
            gc.collect()  # slow: only if needed
        return self._live()

    def _live(self) -> dict[int, SourceLine]:
        return {step: line for step, line, mark in self._marks if mark() is not None}
