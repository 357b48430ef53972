"""Rows to all sinks: one that fails is left out, and harms neither the training nor the others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradlab.errors import WatchError
from gradlab.recording.rows import Rows
from gradlab.sinks.protocol import Sink


class Outlets:
    """The sinks that are left.

    Args:
        sinks: one or several.
        note: is told of each that fails.

    Raises:
        WatchError: one is no sink.
    """

    def __init__(self, sinks: Sink | Sequence[Sink], note: Callable[[str], None]) -> None:
        self._sinks = list(sinks) if isinstance(sinks, Sequence) else [sinks]
        for sink in self._sinks:
            if not (hasattr(sink, "write") and hasattr(sink, "finish")):
                raise WatchError(
                    f"expected sinks such as gradlab.sinks.Parquet(folder), given {sinks!r}"
                )
        self._note = note

    def write(self, rows: Rows) -> None:
        """Hand on a recorded step."""
        for sink in list(self._sinks):
            self._attempt(sink, sink.write, rows)

    def finish(self, info: Callable[[], Mapping[str, Any]]) -> None:
        """Hand on what is known at the end, which is asked for only if someone takes it."""
        told = info() if self._sinks else {}
        for sink in list(self._sinks):
            self._attempt(sink, sink.finish, told)

    def _attempt(self, sink: Sink, action: Callable[[Any], None], given: Any) -> None:
        try:
            action(given)
        except Exception as error:
            self._sinks.remove(sink)
            self._note(f"{type(sink).__name__} failed, the record goes on without it: {error}")
