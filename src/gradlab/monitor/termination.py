"""SIGTERM in a watched program: the last rows are written before the program ends.

By default, SIGTERM ends Python at once, without `finally` blocks. While a monitor with sinks runs,
a handler completes its sinks first, and then sends the signal again. A program that handles SIGTERM
keeps its handler.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_handlers: dict[object, Callable[[], None]] = {}
_owner = [0]
"""The process that set the handler; a fork inherits the handler, but not the sinks."""
_busy = 0
_arrived = False


@contextmanager
def complete_on_sigterm(complete: Callable[[], None]) -> Generator[None]:
    """Call `complete` if SIGTERM arrives in the block, before the process ends.

    Only the main thread can set a handler; in another thread the block has no effect.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, _handle):
        yield
        return
    key = object()
    _handlers[key] = complete
    _owner[0] = os.getpid()
    signal.signal(signal.SIGTERM, _handle)
    try:
        yield
    finally:
        del _handlers[key]
        if not _handlers and signal.getsignal(signal.SIGTERM) is _handle:
            _restore()


@contextmanager
def sigterm_delayed() -> Generator[None]:
    """Delay the handler until the end of the block, because the block changes the record."""
    global _busy
    _busy += 1
    try:
        yield
    finally:
        _busy -= 1
        if _arrived and not _busy:
            _end()


def _handle(number: int, frame: FrameType | None) -> None:
    global _arrived
    _arrived = True
    if not _busy:
        _end()


def _end() -> None:
    """Complete the sinks, unless this process is a fork, and end the process by the signal."""
    try:
        if os.getpid() == _owner[0]:
            for complete in list(_handlers.values()):
                complete()
    finally:
        _restore()
        os.kill(os.getpid(), signal.SIGTERM)


def _restore() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
