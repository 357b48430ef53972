"""Defines the protocol of a sink, and joins several sinks.

A sink receives the rows of a run. Any object with three methods is a sink: `open(run)` is called
once, `write(rows)` at each recorded step, and `finish(result)` at the end. This sink writes the
loss of each step to a CSV file:

    >>> class CSV:
    ...     def __init__(self, path):
    ...         self.path = path
    ...     def open(self, run):
    ...         self.file = open(self.path, "w")
    ...     def write(self, rows):
    ...         for row in rows.steps.to_pylist():
    ...             print(row["step"], row["loss"], sep=",", file=self.file)
    ...     def finish(self, result):
    ...         self.file.close()

Use it in `gradlab.watch(model, optimizer, sinks=CSV("loss.csv"))`. For `gradlab run`, write the
following file `FOLDER/tracking/csv.yaml`, then run `gradlab run --config-dir FOLDER tracking=csv`:

    csv:
      _target_: my_module.CSV
      path: loss.csv
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gradlab.errors import StoreError, WatchError, first_line
from gradlab.recording.rows import Rows


@dataclass(frozen=True)
class RunInfo:
    """Description of a run before its first step.

    Attributes:
        name: Name of the run in a service; None lets the service choose.
        group: Name of the run's sweep; None for a single run.
        folder: Folder of the run; None for a watched network, which has no folder.
        steps: Number of planned updates; None if unknown.
        config: Settings, keyed by dotted name.
        record: Further entries of `run.json`.
        writers: Number of runs that this process writes at the same time.
    """

    name: str | None = None
    group: str | None = None
    folder: Path | None = None
    steps: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    record: Mapping[str, Any] = field(default_factory=dict[str, Any])
    writers: int = 1


class Sink(Protocol):
    """A destination of rows."""

    def open(self, run: RunInfo) -> None:
        """Prepare for the rows of a run. Called once, before the first row."""
        ...

    def write(self, rows: Rows) -> None:
        """Receive rows.

        Args:
            rows: Two Arrow record batches. `rows.steps` has a row for each step since the last
                call, with the columns of `gradlab.schema.STEPS`. `rows.layers` has a row for each
                layer at the last recorded step, with the columns of `gradlab.schema.LAYERS`; it is
                None if no step was recorded.
        """
        ...

    def finish(self, result: Mapping[str, Any]) -> None:
        """Complete the output; called again after a monitor was stopped and restarted.

        Args:
            result: Entries of `run.json`: `status`, `verdict`, `findings` and more.
        """
        ...


class Sinks:
    """A sink that passes rows on to several sinks.

    A sink that raises an exception is removed. The training and the other sinks continue. Only a
    sink that is not available at the start, such as an occupied folder, ends the training.

    Args:
        sinks: One sink or a sequence of sinks.
        warn: Called with one line of text when a sink is removed.

    Raises:
        WatchError: An object lacks a method of the protocol.
    """

    def __init__(self, sinks: Sink | Sequence[Sink], warn: Callable[[str], None]) -> None:
        argument: Any = sinks  # any type, because a user may pass a path by mistake
        several = isinstance(argument, Sequence) and not isinstance(argument, str)
        self._sinks: list[Any] = list(argument) if several else [argument]
        for sink in self._sinks:
            _check_methods(sink)
        self._warn = warn
        self._opened = False

    def __len__(self) -> int:
        return len(self._sinks)

    def open(self, run: RunInfo) -> None:
        """Open each sink; only the first call has an effect.

        Raises:
            StoreError: The folder of a sink cannot be used.
        """
        if not self._opened:
            self._opened = True
            self._each(lambda sink: sink.open(run))

    def write(self, rows: Rows) -> None:
        """Write rows to each sink."""
        self._each(lambda sink: sink.write(rows))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Finish each sink, if the sinks were opened."""
        if self._opened:
            self._each(lambda sink: sink.finish(result))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                call(sink)
            except StoreError:
                raise
            except Exception as error:  # a service, a disk or the user's class may raise anything
                self._sinks.remove(sink)
                self._warn(
                    f"{type(sink).__name__} failed, the run continues without it: "
                    f"{type(error).__name__}: {first_line(error)}"
                )


def _check_methods(sink: object) -> None:
    if isinstance(sink, type):
        raise WatchError(
            f"expected a sink, but got the class {sink.__name__}: write {sink.__name__}(...)"
        )
    for method in ("open", "write", "finish"):
        if not callable(getattr(sink, method, None)):
            raise WatchError(
                f"expected a sink with open, write and finish, but {sink!r} has no {method}; "
                "use, for example, gradlab.sinks.Parquet(folder)"
            )
