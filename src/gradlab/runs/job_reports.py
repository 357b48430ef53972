"""Files by which a job in another process reports its end to the command that started the sweep.

Launchers such as joblib and submitit return only the value or the exception of a job. Hydra raises
the first exception and drops the rest. Each job therefore writes a small file into the sweep's
folder, and the command reads and removes these files at its end.
"""

import shutil
import signal
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gradlab.errors import StoreError
from gradlab.results.files import read_json
from gradlab.results.parquet import write_json

NAME = ".gradlab-jobs"
STOP = "stop"
"""File that exists after an interruption of the command."""
POLL = 0.5  # seconds


def clear(folder: Path) -> None:
    """Remove the reports of an earlier sweep in this folder."""
    if (folder / NAME).is_symlink():
        (folder / NAME).unlink()
    shutil.rmtree(folder / NAME, ignore_errors=True)


def stop(folder: Path) -> None:
    """Let the jobs that run end after their step, and the others not start."""
    with suppress(OSError):
        (folder / NAME).mkdir(exist_ok=True)
        (folder / NAME / STOP).touch()


def is_stopped(folder: Path) -> bool:
    """Return whether the command of this sweep was interrupted."""
    return (folder / NAME / STOP).exists()


@contextmanager
def interruptible(folder: Path) -> Generator[None]:
    """Interrupt the block, as Ctrl-C would, when the command of this sweep is interrupted.

    Ctrl-C in a terminal reaches the processes of a launcher too; a signal sent to the command, or
    a process on another machine, does not.

    Args:
        folder: The sweep's folder.

    Yields:
        Nothing.
    """
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(POLL):
            if is_stopped(folder):
                signal.raise_signal(signal.SIGINT)
                return

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def write(folder: Path, number: int, content: Mapping[str, Any]) -> None:
    """Write the report of a job.

    Args:
        folder: The sweep's folder.
        number: Number of the job in the sweep.
        content: The report, of JSON types.
    """
    (folder / NAME).mkdir(exist_ok=True)
    write_json(folder / NAME / f"{number}.json", content)


def collect(folder: Path) -> list[dict[str, Any]]:
    """Return the reports in a sweep's folder in the order of the jobs, and remove them."""
    files = sorted((folder / NAME).glob("*.json"), key=lambda file: (len(file.stem), file.stem))
    reports: list[dict[str, Any]] = []
    for file in files:
        with suppress(OSError, StoreError):  # a damaged report counts as a missing one
            reports.append(read_json(file))
    clear(folder)
    return reports
