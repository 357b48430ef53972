"""Limits of the examined program: time, memory, disk, processes."""

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
MOST_PROCESSES = 1000
_PAUSE = 0.1  # seconds between two checks, or more if a check takes long


@dataclass(frozen=True)
class Limits:
    """Limits of one run of the program.

    Attributes:
        seconds: the time.
        memory: bytes of memory, in all processes of the program.
        disk: bytes of the files that it writes.
    """

    seconds: float
    memory: int
    disk: int

    def explain(self, reason: str) -> str:
        """Return the message for a limit that was reached: a name of `watch`."""
        return {
            "time": f"the program did not make enough updates in {self.seconds:.6g} s; --time "
            "SECONDS allows more",
            "memory": f"the program used more than {self.memory / GIB:.3g} GiB of memory; --memory "
            "GIB allows more",
            "disk": f"the program wrote more than {self.disk / GIB:.3g} GiB; --disk GIB allows "
            "more",
            "processes": f"the program started more than {MOST_PROCESSES} processes",
        }[reason]

    def apply(self) -> None:
        """Set the limits that the kernel checks: memory of each process, size of each file."""
        for kind, value in (
            (resource.RLIMIT_DATA, self.memory),
            (resource.RLIMIT_FSIZE, self.disk),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.getrlimit(kind)
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))


def free_memory() -> int:
    """Return the free memory of the machine in bytes; all of its memory if that is unknown."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        (line,) = [each for each in lines if each.startswith("MemAvailable:")]
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def watch(child: int, limits: Limits, folders: Callable[[], int]) -> str | int:
    """Wait for a child process, and check its limits.

    Args:
        child: the process; it and all its descendants count.
        limits: the limits.
        folders: returns the bytes on disk that the program uses.

    Returns:
        The name of the limit that was reached, or the status of the child's end.
    """
    end, next_check, next_size = time.monotonic() + limits.seconds, 0.0, 0.0
    descriptor = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
    while True:
        if descriptor is None:
            time.sleep(_PAUSE / 5)
        else:
            select.select([descriptor], [], [], _PAUSE)
        reaped, status = os.waitpid(child, os.WNOHANG)
        if reaped:
            return status
        now = time.monotonic()
        if now > end:
            return "time"
        if now > next_check:
            processes = [*descendants(os.getpid())]
            if len(processes) > MOST_PROCESSES:
                return "processes"
            if sum(map(memory_share, processes)) > limits.memory:
                return "memory"
            next_check = _after(now)
        if now > next_size:
            if folders() > limits.disk:
                return "disk"
            next_size = _after(now)


def _after(start: float) -> float:
    """Return the time of the next check: checks use at most a tenth of the time."""
    now = time.monotonic()
    return now + max(_PAUSE, 10 * (now - start))


def descendants(process: int) -> Iterator[int]:
    """Yield the processes below a process; none where the system has no `/proc`."""
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                yield child
                yield from descendants(child)


def memory_share(process: int) -> int:
    """Return the memory of a process in bytes; shared pages count in equal parts."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def end_descendants(process: int) -> None:
    """Kill the processes below a process, also those that are started meanwhile."""
    for _ in range(100):
        found = [*descendants(process)]
        for each in found:
            with suppress(OSError):
                os.kill(each, signal.SIGSTOP)  # it starts no further process
        for each in found:
            with suppress(OSError):
                os.kill(each, signal.SIGKILL)
        with suppress(OSError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not found:
            return
        time.sleep(0.01)
