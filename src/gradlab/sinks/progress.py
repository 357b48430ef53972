"""How far a run or a sweep is: a bar where a person watches, else a plain line now and then."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gradlab.recording.rows import Rows

log = logging.getLogger(__name__)


class Watching:
    """A sink that shows steps and loss; a context manager, so that the bar is gone when it ends."""

    def __init__(self, steps: int, console: Console | None = None, interval: float = 10.0) -> None:
        self.steps = steps
        self.interval = interval
        self._next_line = time.monotonic() + interval
        self._bar: Progress | None = None
        console = console or Console(stderr=True)
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._task = self._bar.add_task("step", total=steps)

    def __enter__(self) -> "Watching":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def write(self, rows: Rows) -> None:
        """Show the last of some steps."""
        done, loss = int(rows.steps["step"][-1]) + 1, float(rows.steps["loss"][-1])
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=f"loss {loss:.4g}")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self.interval
            log.info("step %d of %d, loss %.4g", done, self.steps, loss)


class Counting:
    """Shows how many jobs of a sweep have ended, if a person watches; a context manager."""

    def __init__(self, jobs: int, console: Console | None = None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = console or Console(stderr=True)
        self._bar = Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("jobs", total=jobs)

    def __enter__(self) -> "Counting":
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
    def aside(self, ended: int) -> Generator[None]:
        """Count some more, and take the bar away while something else is printed."""
        self._bar.advance(self._task, ended)
        self._bar.stop()
        yield
        self._bar.start()
