"""Single calls of a module: their numbers, and the gradient of the input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.autograd import _get_sequence_nr  # pyright: ignore
from torch.autograd.graph import Node, get_gradient_edge

Edge = tuple[Node, int]


@dataclass
class Call:
    """One call of a watched module.

    Attributes:
        index: Index of the module.
        output: Weak reference to its first output tensor.
        numbers: Numbers keyed by name, of `combine.CALL_COLUMNS`.
        alive_U: 1.0 for each unit that is alive, else 0.0.
        scale: The loss scale that its gradients contain; None stands for 1.
    """

    index: int
    output: Any = None
    numbers: dict[str, Tensor | float] = field(default_factory=dict[str, "Tensor | float"])
    alive_U: Tensor | None = None
    scale: Tensor | None = None


def has_dense_gradient(x: Any) -> TypeGuard[Tensor]:
    """Return whether x is a dense tensor, not sharded or nested, that requires a gradient."""
    if not isinstance(x, Tensor) or not x.requires_grad or x.layout != torch.strided:
        return False
    return not x.is_nested and not hasattr(x, "full_tensor") and x.numel() > 0


class InputGradient:
    """The part of an input's gradient that one module contributes.

    It is read from autograd's graph without changing the graph. A hook on an alias of the input
    would be simpler, but an alias changes the training: autograd then sums gradients in another
    order, and a module that tests `query is key` takes another path.

    Args:
        x: The input, before the module is called.
    """

    def __init__(self, x: Tensor) -> None:
        self._node, self._number = get_gradient_edge(x)[:2]
        self._first: int = _get_sequence_nr()  # autograd numbers its nodes in order of creation

    def register(self, outputs: Sequence[Tensor], receive: Callable[[Tensor], None]) -> None:
        """Register hooks that call `receive` in each backward pass.

        Args:
            outputs: The module's outputs.
            receive: Called with this module's part of the input's gradient, in the input's shape.
        """
        edges = self._find_edges([get_gradient_edge(x)[0] for x in outputs])
        total = _SumOverEdges(len(edges), receive)
        for node, index in edges:
            node.register_hook(partial(total.add, index))

    def _find_edges(self, waiting: list[Node]) -> list[Edge]:
        """Return the edges to the input from nodes that the module has created."""
        edges: list[Edge] = []
        seen: set[Node] = set()
        while waiting:
            node = waiting.pop()
            if node in seen or node._sequence_nr() < self._first:  # pyright: ignore
                continue
            seen.add(node)
            for index, (other, number) in enumerate(node.next_functions):
                if other is self._node and number == self._number:
                    edges.append((node, index))
                elif other is not None:
                    waiting.append(other)
        return edges


class _SumOverEdges:
    """Sums the gradients of all edges in a backward pass."""

    def __init__(self, edges: int, receive: Callable[[Tensor], None]) -> None:
        self._edges, self._receive = edges, receive
        self._left, self._sum = edges, None

    @torch.no_grad()
    def add(self, index: int, grads_in: Sequence[Tensor | None], grads_out: object) -> None:
        """Add the gradient of one edge; after the last edge, pass on the sum.

        Args:
            index: Which input of the node belongs to the edge.
            grads_in: Gradients of the node's inputs.
            grads_out: Gradients of its outputs; not used.
        """
        if (grad := grads_in[index]) is not None:
            self._sum = grad if self._sum is None else self._sum + grad
        self._left -= 1
        if not self._left:
            total, self._left, self._sum = self._sum, self._edges, None
            if total is not None:
                self._receive(total)
