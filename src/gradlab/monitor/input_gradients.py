"""What comes back to a module's input: heard in autograd's graph, to which nothing is added.

An alias of the input would be simpler. But a sum of gradients is then taken in another order, which
moves its last bit, and a module that asks whether its query is its key is told that it is not.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.autograd import _get_sequence_nr  # pyright: ignore
from torch.autograd.graph import Node, get_gradient_edge

Edge = tuple[Node, int]


class Entrance:
    """Where a tensor enters a module: the edge of the graph that leads to it, and when."""

    def __init__(self, x: Tensor) -> None:
        self._node, self._number = get_gradient_edge(x)[:2]
        self._since: int = _get_sequence_nr()  # nodes have numbers that rise as they are made

    def hear(self, outputs: Sequence[Tensor], came: Callable[[Tensor], None]) -> None:
        """Call `came` in a backward pass with the module's share of the input's gradient."""
        edges = self._edges([get_gradient_edge(x)[0] for x in outputs])
        share = _Share(len(edges), came)
        for node, index in edges:
            node.register_hook(partial(share.arrives, index))

    def _edges(self, waiting: list[Node]) -> list[Edge]:
        """Return who hands a gradient to the input, among the nodes that the module has made."""
        found: list[Edge] = []
        seen: set[Node] = set()
        while waiting:
            node = waiting.pop()
            if node in seen or node._sequence_nr() < self._since:  # pyright: ignore
                continue
            seen.add(node)
            for index, (other, number) in enumerate(node.next_functions):
                if other is self._node and number == self._number:
                    found.append((node, index))
                elif other is not None:
                    waiting.append(other)
        return found


class _Share:
    """The sum over all edges of one backward pass."""

    def __init__(self, edges: int, came: Callable[[Tensor], None]) -> None:
        self._edges, self._came = edges, came
        self._left, self._sum = edges, None

    @torch.no_grad()
    def arrives(self, index: int, grads_in: Sequence[Tensor | None], grads_out: object) -> None:
        """Add what one edge brings, and tell when it was the last."""
        if (grad := grads_in[index]) is not None:
            self._sum = grad if self._sum is None else self._sum + grad
        self._left -= 1
        if not self._left:
            whole, self._left, self._sum = self._sum, self._edges, None
            if whole is not None:
                self._came(whole)
