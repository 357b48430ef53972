"""Shows the progress of a run or a sweep: a bar in a terminal, otherwise lines in the log."""

import logging
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gradlab.recording.rows import Rows
from gradlab.sinks.protocol import RunInfo

log = logging.getLogger(__name__)


class Progress:
    """A sink that shows the number of steps and the loss; the runs of a stack share it.

    Args:
        console: Console that shows the bar; None for stderr.
        interval: Seconds between two lines in the log, if the console is not a terminal.
    """

    def __init__(self, console: Console | None = None, interval: float = 10.0) -> None:
        console = console or Console(stderr=True)
        self._bar = _bar(console) if console.is_terminal else None
        self._interval = interval
        self._next_line = 0.0
        self._steps: int | None = None

    def open(self, run: RunInfo) -> None:
        """Show the bar."""
        self._steps = run.steps
        self._next_line = time.monotonic() + self._interval
        if self._bar is not None:
            self._task = self._bar.add_task("step", total=run.steps)
            self._bar.start()

    def write(self, rows: Rows) -> None:
        """Show the last step of the rows."""
        done, loss = rows.steps["step"].to_pylist()[-1] + 1, rows.steps["loss"].to_pylist()[-1]
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=f"loss {loss:.4g}")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._interval
            planned = "" if self._steps is None else f" of {self._steps}"
            log.info("step %d%s, loss %.4g", done, planned, loss)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


class SweepProgress:
    """Shows the number of finished jobs of a sweep in a terminal, while its context is open.

    Args:
        jobs: Number of jobs of the sweep.
        console: Console that shows the bar; None for stderr.
    """

    def __init__(self, jobs: int, console: Console | None = None) -> None:
        self._bar = _bar(console or Console(stderr=True))
        self._task = self._bar.add_task("jobs", total=jobs)

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @contextmanager
    def advance(self, jobs: int) -> Generator[None]:
        """Add finished jobs; in the context, the bar is hidden, so that the caller can print."""
        self._bar.advance(self._task, jobs)
        self._bar.stop()
        yield
        self._bar.start()


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
