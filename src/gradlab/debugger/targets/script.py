"""A function that trains by itself."""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gradlab.debugger.observe.module_calls import Change
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.observe.watch import Enough, Watch
from gradlab.debugger.sandbox.isolation import apart
from gradlab.debugger.sandbox.snapshot import kept
from gradlab.debugger.targets.training import caught

FIRST = 8  # updates of a function that may also return what is to be examined, after a few


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
            with caught(watch), watch, suppress(Enough):
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
