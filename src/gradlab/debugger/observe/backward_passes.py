"""Backward passes: what they reach, and what they are the derivative of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.utils._pytree import tree_leaves

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.event_log import Log
from gradlab.debugger.observe.module_calls import Calls
from gradlab.debugger.observe.numpy_aliases import Lent
from gradlab.debugger.observe.source_lines import here, trail
from gradlab.debugger.observe.trace import Backward, Cut, Factor


class Passes:
    """Watches `torch.autograd.backward`, by which every `Tensor.backward` goes."""

    def __init__(self, log: Log, calls: Calls, marks: autograd_graph.Marks) -> None:
        self.log, self.calls, self.marks = log, calls, marks
        self.count = 0
        self.aliases: list[tuple[Cut, Tensor, int]] = []
        self.lent = Lent()

    def aliased(self, event: Cut, alias: Tensor) -> None:
        """Take a view of a tensor's values, to see at the backward pass whether it was written."""
        if event.how == "data":
            self.aliases.append((event, alias, alias._version))
        self.lent.detached.append((event, alias))

    def forget(self) -> None:
        """Let go of all tensors."""
        self.aliases.clear()
        self.lent.forget()

    def backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a backward pass, and note it."""
        roots = [t for t in tree_leaves((args[:1], kwargs.get("tensors"))) if isinstance(t, Tensor)]
        log = self.log
        with log.hush():
            self._meet(roots)
            reaches = frozenset[int]().union(*map(autograd_graph.leaves, roots))
            self.marks.put(log.update, here(), *roots)
            now, before = log.now(), log.prints()
            asleep = self.calls.asleep(reaches & log.held if log.optimizers else reaches)
            value, factors = sum(float(r.detach().sum()) for r in roots), _factors(roots)
            self._written(roots)
            original(*args, **kwargs)
            log.tell(
                Backward(
                    **now,
                    value=value,
                    reaches=reaches,
                    before=before,
                    after=log.prints(),
                    trail=trail(),
                    retained=bool(args[2] if len(args) > 2 else kwargs.get("retain_graph")),
                    factors=factors,
                    asleep=asleep,
                    slept=self.calls.slept,
                )
            )
        self.count += 1

    def _meet(self, roots: list[Tensor]) -> None:
        """Get to know the parameters that a pass reaches."""
        for node in [node for root in roots for node in autograd_graph.nodes(root)]:
            variable = getattr(node, "variable", None)
            if isinstance(variable, nn.Parameter):
                self.log.weights.setdefault(id(variable), variable)

    def _written(self, roots: list[Tensor]) -> None:
        for event in self.lent.overwritten(roots):
            self.log.tell(event)
        for event, alias, version in self.aliases:
            if alias._version > version:
                self.log.tell(replace(event, written=True))
        self.aliases.clear()


def _factors(roots: list[Tensor]) -> tuple[Factor, ...]:
    """Return the derivatives of a pass's root by all scalars that losses and reductions made."""
    scalars = autograd_graph.scalars(roots[0]) if len(roots) == 1 and roots[0].numel() == 1 else []
    edges = [GradientEdge(node, 0) for node, _, _ in scalars]
    try:
        found: Any = torch.autograd.grad(roots, edges, retain_graph=True) if edges else ()
    except RuntimeError:  # a graph that may be walked only once, or one that is broken
        return ()
    return tuple(
        Factor(is_mean, samples, float(g), autograd_graph.made(node))
        for (node, is_mean, samples), g in zip(scalars, found, strict=True)
    )
