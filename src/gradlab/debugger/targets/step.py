"""A training step with its batches, as it is given to `gradlab.doctor`."""

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map

from gradlab.debugger.observe.module_calls import Change
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.observe.watch import Watch
from gradlab.debugger.sandbox.isolation import apart
from gradlab.debugger.sandbox.snapshot import kept, reachable
from gradlab.debugger.targets.batches import batches, drawn_from, otherwise
from gradlab.debugger.targets.training import caught

Step = Callable[[nn.Module, Optimizer, Any], Any]
CALLS = 8  # of a step for each update that is wanted: it may accumulate


class Given:
    """A step, called as step(model, optimizer, batch), and what it is called with.

    It is run as it is, not on a copy of it, so that whatever it closes over is observed too;
    afterwards all of it is put back.

    Raises:
        ExaminationError: there is no batch.
    """

    def __init__(self, step: Step, model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
        self.step, self.model, self.optimizer = step, model, optimizer
        with kept(*drawn_from(batch)):
            self.batches = batches(batch)
        self.otherwise = otherwise(batch, self.batches)

    @property
    def samples(self) -> int:
        """How many samples there are in the first batch; 0 if that is not known."""
        tensors = [t for t in tree_leaves(self.batches[0]) if isinstance(t, Tensor) and t.ndim]
        return len(tensors[0]) if tensors else 0

    @property
    def is_varied(self) -> bool:
        """Whether there is more than one batch."""
        return len(self.batches) > 1

    def run(self, updates: int, change: Change | None = None, *, same: bool = False) -> Trace:
        """Train for so many updates and return what was seen; `same`: on one batch only.

        A list may be a batch, or hold batches: if the step fails on one, the other is tried.
        """
        trace = self._run(self.batches[:1] if same else self.batches, updates, change)
        if trace.failure and not trace.updates and self.otherwise:
            other = self._run(self.otherwise, updates, change)
            if not other.failure and other.updates:
                self.batches, self.otherwise = self.otherwise, []
                return other
        return trace

    def doubled(self, times: int) -> Trace | None:
        """Make one update on a batch whose samples are there so many times, if that can be."""
        batch = self.batches[0]
        sizes = {len(t) for t in tree_leaves(batch) if isinstance(t, Tensor) and t.ndim}
        if len(sizes) != 1 or any(isinstance(t, Tensor) and not t.ndim for t in tree_leaves(batch)):
            return None
        many = tree_map(lambda t: torch.cat([t] * times) if isinstance(t, Tensor) else t, batch)
        return self._run([many], 1, None)

    def _run(self, given: list[Any], updates: int, change: Change | None) -> Trace:
        with kept(self.step, self.model, self.optimizer, self.batches), apart():
            found = reachable(self.step, self.model, self.optimizer)
            watch = Watch([each for each in found if isinstance(each, Optimizer)], change)
            if isinstance(self.model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
                watch.calls.outermost[id(self.model)] = self.model
            with caught(watch), watch:
                for batch in islice(cycle(given), updates * CALLS):
                    self.step(self.model, self.optimizer, batch)
                    if watch.updates >= updates:
                        break
        return watch.trace
