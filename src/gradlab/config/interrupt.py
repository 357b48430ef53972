"""Ctrl-C, SIGTERM, and errors that gradlab does not expect.

While a network trains, an exception could interrupt a write to a file. So the first signal only
sets a flag, which the training loop reads after each step. The second signal raises.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from gradlab.errors import JobError


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; `exit_code` is the shell's convention, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Interrupt:
    """Context manager: the first signal only sets `requested`; with `at_once` it raises.

    Args:
        at_once: Whether the first signal raises Interrupted.
        first: Called at the first signal, unless it raises; `at_once` and `first` may be changed
            later.
    """

    def __init__(self, at_once: bool = False, first: Callable[[], None] = lambda: None) -> None:
        self.at_once, self.first = at_once, first
        self.number: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.number is not None

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.number is not None:
            raise Interrupted(self.number)

    def __enter__(self) -> "Interrupt":
        # Only the main thread may set handlers.
        if threading.current_thread() is threading.main_thread():
            for each in (signal.SIGINT, signal.SIGTERM):
                self._before[each] = signal.signal(each, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.requested, number
        if again or self.at_once:
            raise Interrupted(number)
        self.first()


@contextmanager
def uninterrupted(
    numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> Generator[None]:
    """Delay Ctrl-C and SIGTERM until the end of the block, which must be short.

    Args:
        numbers: The signals to delay.

    Yields:
        Nothing.
    """
    arrived: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for each in numbers:
                handler = signal.getsignal(each)
                if handler is not None:  # None: a handler that Python cannot restore
                    before[each] = handler
                    signal.signal(each, lambda number, frame: arrived.append(number))
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in arrived[:1]:
            signal.raise_signal(number)


def broken(error: BaseException, folder: Path) -> JobError:
    """Write the traceback to `traceback.txt` in `folder`; return an error that names the file."""
    file = folder / "traceback.txt"
    lines = "".join(traceback.format_exception(error))
    with suppress(OSError):  # a full disk; files that were flushed before are readable
        file.write_text(lines, encoding="utf-8")
    return JobError(f"{described(error)} (traceback in {os.path.relpath(file)})")


def described(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
