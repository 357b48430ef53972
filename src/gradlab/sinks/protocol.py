"""The protocol of a sink, and several sinks as one.

A sink receives the rows of a run: `open(run)` once, `write(rows)` at each recorded step, and
`finish(result)` at the end. Any object with these three methods is a sink. Example: a sink that
writes the loss of each step to a CSV file.

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

Use it as `gradlab.watch(model, optimizer, sinks=CSV("loss.csv"))`. For `gradlab run`, write a file
`tracking/csv.yaml` into a folder, and run `gradlab run --config-dir FOLDER tracking=csv`:

    csv:
      _target_: my_module.CSV
      path: loss.csv
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gradlab.errors import WatchError, first_line
from gradlab.recording.rows import Rows


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run before its first step.

    Attributes:
        name: Name of the run in a service; None lets the service choose.
        group: Name of the run's sweep; None for a single run.
        folder: Folder of the run; None for a watched network, which has no folder.
        steps: Number of planned updates; None if unknown.
        config: Settings, keyed by dotted name.
        record: Further keys of `run.json`.
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
            rows: Arrow record batches: some steps in `rows.steps`, with the columns of
                `gradlab.schema.STEPS`; and in `rows.layers` the layers of one of these steps, with
                the columns of `gradlab.schema.LAYERS`, or None.
        """
        ...

    def finish(self, result: Mapping[str, Any]) -> None:
        """Complete the output. A monitor that is stopped and started again finishes again.

        Args:
            result: The content of `run.json`: `status`, `verdict`, `findings` and more.
        """
        ...


class Sinks:
    """Several sinks as one sink.

    A sink that raises an exception is removed. It affects neither the training nor the other sinks.

    Args:
        sinks: One sink or several.
        warn: Called with one line of text when a sink is removed.

    Raises:
        WatchError: An object lacks a method of the protocol.
    """

    def __init__(self, sinks: Sink | Sequence[Sink], warn: Callable[[str], None]) -> None:
        given: Any = sinks  # also what a user passes by mistake, such as a path
        several = isinstance(given, Sequence) and not isinstance(given, str)
        self._sinks: list[Any] = list(given) if several else [given]
        for sink in self._sinks:
            _check_methods(sink)
        self._warn = warn
        self._opened = False

    def __len__(self) -> int:
        return len(self._sinks)

    def open(self, run: RunInfo) -> None:
        """Open each sink at the first call; later calls have no effect."""
        if not self._opened:
            self._opened = True
            self._each(lambda sink: sink.open(run))

    def write(self, rows: Rows) -> None:
        """Write rows to each sink."""
        self._each(lambda sink: sink.write(rows))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Finish each sink, if they were opened."""
        if self._opened:
            self._each(lambda sink: sink.finish(result))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:  # of a service, a disk, or the user's own class
                self._sinks.remove(sink)
                self._warn(
                    f"{type(sink).__name__} failed, the run continues without it: "
                    f"{type(error).__name__}: {first_line(error)}"
                )


def _check_methods(sink: object) -> None:
    if isinstance(sink, type):
        raise WatchError(f"expected a sink, given the class {sink.__name__}: call it")
    for method in ("open", "write", "finish"):
        if not callable(getattr(sink, method, None)):
            raise WatchError(
                "expected a sink with open, write and finish, such as "
                f"gradlab.sinks.Parquet(folder); given {sink!r}, which has no {method}"
            )
