"""Records backward passes: gradients, terms of the loss, and values overwritten before them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.utils._pytree import tree_leaves

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.events import BackwardPass, GraphExit, LossTerm
from gradlab.debugger.observe.module_calls import ModuleCalls
from gradlab.debugger.observe.source_lines import current_line, current_lines
from gradlab.debugger.observe.trace import EventLog

MAX_ALIASES = 64  # stored detached tensors, and stored arrays


class BackwardCalls:
    """Records the calls of `torch.autograd.backward`, which every `Tensor.backward` makes."""

    def __init__(
        self, log: EventLog, modules: ModuleCalls, marks: autograd_graph.GraphMarks
    ) -> None:
        self.log, self.modules, self.marks = log, modules, marks
        self.count = 0
        self.views: list[
            tuple[GraphExit, Tensor, int]
        ] = []  # results of `.data`, with their versions
        self.arrays = ArrayAliases()

    def add_alias(self, event: GraphExit, alias: Tensor) -> None:
        """Store a tensor that shares memory with the graph."""
        if event.how == "data":
            self.views.append((event, alias, alias._version))
        self.arrays.detached.append((event, alias))

    def forget(self) -> None:
        """Release all tensors."""
        self.views.clear()
        self.arrays.forget()

    def backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a backward pass and record it.

        Args:
            original: `torch.autograd.backward`.
            args: its arguments.
            kwargs: its keyword arguments.
        """
        roots = [t for t in tree_leaves((args[:1], kwargs.get("tensors"))) if isinstance(t, Tensor)]
        log = self.log
        with log.pause():
            self._add_parameters(roots)
            reaches = frozenset[int]().union(*map(autograd_graph.leaves, roots))
            self.marks.put(log.step, current_line(), *roots)
            now, before = log.now(), log.fingerprints()
            learning = reaches & log.optimizer_weights if log.optimizers else reaches
            in_eval = self.modules.in_eval(learning)
            value, terms = sum(float(r.detach().sum()) for r in roots), _loss_terms(roots)
            self._record_overwritten(roots)
            original(*args, **kwargs)
            log.add(
                BackwardPass(
                    **now,
                    value=value,
                    reaches=reaches,
                    before=before,
                    after=log.fingerprints(),
                    lines=current_lines(),
                    retained=bool(args[2] if len(args) > 2 else kwargs.get("retain_graph")),
                    terms=terms,
                    in_eval=in_eval,
                    eval_line=self.modules.eval_line,
                )
            )
        self.count += 1

    def _add_parameters(self, roots: list[Tensor]) -> None:
        for node in [node for root in roots for node in autograd_graph.nodes(root)]:
            variable = getattr(node, "variable", None)
            if isinstance(variable, nn.Parameter):
                self.log.weights.setdefault(id(variable), variable)

    def _record_overwritten(self, roots: list[Tensor]) -> None:
        for event in self.arrays.overwritten(roots):
            self.log.add(event)
        for event, alias, version in self.views:
            if alias._version > version:
                self.log.add(replace(event, written=True))
        self.views.clear()


def _loss_terms(roots: list[Tensor]) -> tuple[LossTerm, ...]:
    """Return the derivative of the loss by each mean or sum in its graph."""
    scalars = autograd_graph.scalars(roots[0]) if len(roots) == 1 and roots[0].numel() == 1 else []
    edges = [GradientEdge(node, 0) for node, _, _ in scalars]
    try:
        found: Any = torch.autograd.grad(roots, edges, retain_graph=True) if edges else ()
    except RuntimeError:  # the graph allows only one pass, or is broken
        return ()
    return tuple(
        LossTerm(is_mean, samples, float(g), autograd_graph.line_of(node))
        for (node, is_mean, samples), g in zip(scalars, found, strict=True)
    )


@dataclass(frozen=True)
class _ArrayAlias:
    """A tensor that was converted to an array, and a copy of its values at that time."""

    event: GraphExit
    tensor: Tensor
    values: Tensor


class ArrayAliases:
    """Detects writes to arrays from `z.detach().numpy()`, which autograd does not see."""

    def __init__(self) -> None:
        self.detached: deque[tuple[GraphExit, Tensor]] = deque(maxlen=MAX_ALIASES)
        self.aliases: deque[_ArrayAlias] = deque(maxlen=MAX_ALIASES)

    def forget(self) -> None:
        """Release all tensors."""
        self.detached.clear()
        self.aliases.clear()

    def add_array(self, now: GraphExit, tensor: Tensor) -> None:
        """Store a tensor that is converted to an array, if it shares memory with the graph."""
        for event, alias in self.detached:
            if alias.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
                values = tensor.detach().clone()
                now = replace(now, reaches=event.reaches)
                self.aliases.append(_ArrayAlias(now, tensor, values))
                return

    def overwritten(self, roots: list[Tensor]) -> list[GraphExit]:
        """Return the arrays that were overwritten, if this changes the gradients of the roots."""
        changed = [each for each in self.aliases if not _are_equal(each.tensor, each.values)]
        found = changed if changed and _change_gradients(changed, roots) else []
        self.forget()
        return [replace(each.event, written=True) for each in found]


def _change_gradients(aliases: list[_ArrayAlias], roots: list[Tensor]) -> bool:
    """Return whether the earlier values give other gradients; the current values are restored."""
    try:
        now = _gradients(roots)
        written = [each.tensor.clone() for each in aliases]
        for each in reversed(aliases):  # the first alias has the values before all writing
            _write(each.tensor, each.values)
        try:
            then = _gradients(roots)
        finally:
            for each, values in zip(aliases, written, strict=True):
                _write(each.tensor, values)
    except RuntimeError:  # the graph allows only one pass, or is broken
        return False
    return not all(map(_are_equal, now, then))


def _gradients(roots: list[Tensor]) -> list[Tensor]:
    """Return the gradients of the roots by all leaves, and retain the graph."""
    nodes = [node for root in roots for node in autograd_graph.nodes(root)]
    leaves = [node.variable for node in nodes if hasattr(node, "variable")]
    ones = [torch.ones_like(root) for root in roots]
    found: Any = torch.autograd.grad(roots, leaves, ones, retain_graph=True, allow_unused=True)
    return [each for each in found if each is not None]


def _write(tensor: Tensor, values: Tensor) -> None:
    """Write values without autograd's knowledge, like NumPy."""
    tensor.numpy()[...] = values.numpy()


def _are_equal(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
