"""Worker processes, each of which works on one task at a time.

Workers are forks: imported modules and composed configurations are in their memory, and only the
result of a task is sent back. A worker leaves the terminal's process group, so Ctrl-C reaches only
the main process, which forwards it once. Workers are killed when the main process is killed:
otherwise they would write to a sweep that is started again.
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

from gradlab.config.interrupt import Interrupt, uninterrupted
from gradlab.errors import SettingsError

POLL = 0.1  # seconds between two checks for a signal
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>: the signal for a process whose parent ends
Work = Callable[[int], Any]


@dataclass(frozen=True)
class DeadWorker:
    """The result of a task whose worker died. `cause` is the signal or the exit code."""

    cause: str


def choose_workers(requested: int | None) -> int:
    """Return the number of workers; one per core if None is requested.

    Raises:
        SettingsError: fewer than one is requested.
    """
    if requested is not None and requested < 1:
        raise SettingsError(f"hydra.launcher.workers={requested}: expected 1 or more, or null")
    if sys.platform != "linux" or torch.cuda.is_available():
        return 1  # elsewhere a fork is not safe, and a fork cannot use its parent's GPU
    return requested or len(os.sched_getaffinity(0))


def is_worker() -> bool:
    """Return whether this process is a worker."""
    return _is_worker


def distribute(tasks: Sequence[int], work: Work, workers: int) -> Generator[tuple[int, Any]]:
    """Run tasks in worker processes.

    After a signal no further task starts. The workers receive the signal, and their results follow.

    Args:
        tasks: the tasks, in the order of their start.
        work: the function to call with each task.
        workers: the number of processes.

    Yields:
        Each task with its result, in the order of their ends.

    Raises:
        Interrupted: a signal, after every worker has ended.
    """
    waiting, pool, forwarded = deque(tasks), _Pool(work, workers), False
    with Interrupt() as interrupt:
        try:
            while pool.busy or (waiting and not interrupt.requested):
                while waiting and not interrupt.requested and len(pool.busy) < workers:
                    pool.start(waiting.popleft())
                if interrupt.requested and not forwarded:
                    forwarded = True
                    pool.send_signal(signal.SIGTERM)
                yield from pool.results()
        finally:
            with uninterrupted():  # a worker dies with this process, before its files are complete
                pool.close()
    interrupt.check()


class _Pool:
    """The workers. Idle workers receive the next task, and dead ones are replaced."""

    def __init__(self, work: Work, workers: int) -> None:
        self.work, self.workers = work, workers
        self.idle: list[tuple[Any, Connection]] = []
        self.busy: dict[Connection, tuple[Any, int]] = {}

    def start(self, task: int) -> None:
        """Send a task to a worker."""
        process, connection = self.idle.pop() if self.idle else self._fork()
        connection.send(task)
        self.busy[connection] = process, task

    def results(self) -> Generator[tuple[int, Any]]:
        """Wait up to `POLL` seconds; yield the tasks that have ended, each with its result."""
        for ready in wait(list(self.busy), timeout=POLL):
            assert isinstance(ready, Connection)
            process, task = self.busy.pop(ready)
            try:
                result = ready.recv()
            except (EOFError, OSError):
                process.join()
                yield task, DeadWorker(_cause(process.exitcode))
            else:
                self.idle.append((process, ready))
                yield task, result

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the busy workers."""
        for process, _ in self.busy.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def close(self) -> None:
        """End every worker; busy ones are interrupted."""
        self.send_signal(signal.SIGTERM)
        for process, connection in self.idle + [(p, c) for c, (p, _) in self.busy.items()]:
            connection.close()
            process.join()

    def _fork(self) -> tuple[Any, Connection]:
        ours, theirs = multiprocessing.Pipe()
        inherited = [ours, *self.busy, *(connection for _, connection in self.idle)]
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(theirs, inherited, self.work, self.workers, os.getpid())
        )
        sys.stdout.flush()  # otherwise buffered text would be written twice
        sys.stderr.flush()
        with warnings.catch_warnings():  # about threads: the threads of torch and BLAS are idle
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        return process, ours


_is_worker = False


def _serve(
    connection: Connection, inherited: Sequence[Connection], work: Work, workers: int, parent: int
) -> None:
    """Receive tasks and send their results, until the connection is closed.

    Args:
        connection: to the main process.
        inherited: connections of other workers, to be closed here.
        work: the function to call with each task.
        workers: the number of workers, which share the cores.
        parent: the main process.
    """
    global _is_worker
    _is_worker = True
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent was killed before the line above
        os._exit(1)
    for each in inherited:
        each.close()
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    with suppress(EOFError, ConnectionError, KeyboardInterrupt), Interrupt(at_once=True):
        while True:
            connection.send(work(connection.recv()))


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
