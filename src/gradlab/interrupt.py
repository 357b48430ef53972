"""Ctrl-C, and a scheduler's SIGTERM, as a question that is asked at the end of each step.

An exception could strike while a file is being handed its rows. The second Ctrl-C is one.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """A context manager: while it is open, a first signal only sets `asked`."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():  # only there can they be set
            for each in (signal.SIGINT, signal.SIGTERM):
                self._before[each] = signal.signal(each, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
