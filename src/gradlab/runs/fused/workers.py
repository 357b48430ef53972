"""Processes that work side by side, each on one task at a time.

They are forks: what has been imported and composed is there already, and only what comes of a task
is sent back. A worker leaves the terminal's process group, so that Ctrl-C reaches it by way of the
process that began it, once; when that process is killed it is killed too, so that nothing writes to
a sweep that is started again.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from gradlab.config.interrupt import Interrupt
from gradlab.errors import SettingsError

MOMENT = 0.1  # seconds between two looks at whether a signal has come
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>: the signal for a process whose parent ends
Work = Callable[[int], Any]


@dataclass(frozen=True)
class Lost:
    """What came of a task whose worker ended in the middle of it: the signal, or the exit code."""

    ended: str


def number(asked: int | None) -> int:
    """Return how many workers are to be at work; one for each core, if nothing is asked.

    Raises:
        SettingsError: fewer than one is asked for.
    """
    if asked is not None and asked < 1:
        raise SettingsError(f"hydra.launcher.workers={asked}: expected 1 or more, or null")
    if sys.platform != "linux" or torch.cuda.is_available():
        return 1  # elsewhere a fork is not safe, and none can use its parent's GPU
    return asked or len(os.sched_getaffinity(0))


def working() -> bool:
    """Say whether this process is a worker."""
    return _working


def share(tasks: Sequence[int], work: Work, count: int) -> Generator[tuple[int, Any]]:
    """Yield each task with what `work` made of it, as they end; they are begun in their order.

    On a signal the workers are told, and what came of the tasks in hand is still yielded.

    Raises:
        Interrupted: a signal, when every worker has ended.
    """
    waiting, hands, told = deque(tasks), _Hands(work, count), False
    with Interrupt() as interrupt:
        try:
            while hands.busy or (waiting and not interrupt.requested):
                while waiting and not interrupt.requested and len(hands.busy) < count:
                    hands.give(waiting.popleft())
                if interrupt.requested and not told:
                    told = True
                    hands.tell(signal.SIGTERM)
                yield from hands.done()
        finally:
            hands.dismiss()
    interrupt.check()


class _Hands:
    """The workers: idle ones are given the next task, and one that died is replaced."""

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.count = work, count
        self.idle: list[tuple[Any, Connection]] = []
        self.busy: dict[Connection, tuple[Any, int]] = {}

    def give(self, task: int) -> None:
        """Have a worker begin a task."""
        process, connection = self.idle.pop() if self.idle else self._hire()
        connection.send(task)
        self.busy[connection] = process, task

    def done(self) -> Generator[tuple[int, Any]]:
        """Wait a moment; yield the tasks that have ended, each with what came of it."""
        for ready in wait(list(self.busy), timeout=MOMENT):
            assert isinstance(ready, Connection)
            process, task = self.busy.pop(ready)
            try:
                found = ready.recv()
            except (EOFError, OSError):
                process.join()
                yield task, Lost(_told(process.exitcode))
            else:
                self.idle.append((process, ready))
                yield task, found

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to those that are at work."""
        for process, _ in self.busy.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def dismiss(self) -> None:
        """Have every worker end; one that is still at work is interrupted."""
        self.tell(signal.SIGTERM)
        for process, connection in self.idle + [(p, c) for c, (p, _) in self.busy.items()]:
            connection.close()
            process.join()

    def _hire(self) -> tuple[Any, Connection]:
        ours, its = multiprocessing.Pipe()
        held = [ours, *self.busy, *(connection for _, connection in self.idle)]
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(its, held, self.work, self.count, os.getpid())
        )
        sys.stdout.flush()  # or what waits there would be written twice
        sys.stderr.flush()
        with warnings.catch_warnings():  # of threads: those of torch and of BLAS, at rest
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        its.close()
        return process, ours


_working = False


def _serve(
    connection: Connection, held: Sequence[Connection], work: Work, count: int, parent: int
) -> None:
    global _working
    _working = True
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # which was killed before the line above
        os._exit(1)
    for each in held:
        each.close()
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt), Interrupt(at_once=True):
        while True:
            connection.send(work(connection.recv()))


def _told(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
