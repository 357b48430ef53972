"""What is examined: a training step with its batches, or a function that trains by itself."""

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Callable, Generator
from itertools import cycle, islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map

from gradlab.errors import ExaminationError, first_line
from gradlab.examination.apart import apart
from gradlab.examination.batches import batches, drawn_from, otherwise
from gradlab.examination.calls import Change
from gradlab.examination.kept import kept, reachable
from gradlab.examination.place import of_error
from gradlab.examination.trace import Failure, Trace
from gradlab.examination.watch import Enough, Watch

Step = Callable[[nn.Module, Optimizer, Any], Any]
UPDATES = 5  # of the first observation
FIRST = 8  # of a function that may also return what is to be examined, after a little training
CALLS = 8  # of a step for each update that is wanted: it may accumulate


class Subject(Protocol):
    """A training that can be run again and again from the same state."""

    @property
    def samples(self) -> int:
        """How many samples there are in a batch; 0 if that is not known."""
        ...

    @property
    def is_varied(self) -> bool:
        """Whether it can be trained on one batch, and on more than one."""
        ...

    def run(self, updates: int, change: Change | None = None, *, same: bool = False) -> Trace:
        """Train for so many updates and return what was seen; `same`: on one batch only."""
        ...

    def doubled(self, times: int) -> Trace | None:
        """Make one update on a batch whose samples are there so many times, if that can be."""
        ...


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
            with _caught(watch), watch:
                for batch in islice(cycle(given), updates * CALLS):
                    self.step(self.model, self.optimizer, batch)
                    if watch.updates >= updates:
                        break
        return watch.trace


class Script:
    """A function without arguments that trains by itself, stopped after enough updates."""

    def __init__(self, function: Callable[[], Any], program: str = "") -> None:
        self.program = program  # what it is called on its command line, without arguments
        self.function, self.samples, self.is_varied = function, 0, False
        self.returned: Any = None

    def watched(self) -> Trace:
        """Call the function for the first time: it trains, or it returns what does."""
        return self.run(FIRST)

    def run(self, updates: int, change: Change | None = None, *, same: bool = False) -> Trace:
        """Train for so many updates and return what was seen."""
        with kept(self.function), apart(self.program):
            watch = Watch(change=change, most=updates)
            with _caught(watch), watch, contextlib.suppress(Enough):
                self.returned = _finished(self.function())
        return watch.trace

    def doubled(self, times: int) -> Trace | None:
        """Return nothing: its batches are its own."""
        return None


def _finished(returned: Any) -> Any:
    """Run what a generator or a coroutine has only promised; return anything else as it is."""
    if inspect.isgenerator(returned):
        deque(returned, maxlen=0)
        return None
    return asyncio.run(returned) if inspect.iscoroutine(returned) else returned


@contextlib.contextmanager
def _caught(watch: Watch) -> Generator[None]:
    """Note the error that ends a training: it may be what a mistake looks like.

    Raises:
        ExaminationError: it ends the program before there is anything to see.
    """
    try:
        yield
    except SystemExit as error:
        if not watch.updates:
            raise ExaminationError(
                "expected a training, but the program ends before its first update; its command "
                "line was empty: if it needs one, give a function that calls it with its settings"
            ) from error
    except Exception as error:
        if watch.is_over:  # what they do about being stopped is not their training's
            return
        said = first_line(error)
        place = of_error(error)
        watch.tell(
            Failure(place=place, update=watch.update, message=said, kind=type(error).__name__)
        )
