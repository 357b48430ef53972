"""What is examined: a training that can be run again and again, and what ends it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from gradlab.debugger.observe.module_calls import Change
from gradlab.debugger.observe.source_lines import of_error
from gradlab.debugger.observe.trace import Failure, Trace
from gradlab.debugger.observe.watch import Watch
from gradlab.errors import ExaminationError, first_line


class Subject(Protocol):
    """A training that can be run again and again from the same state."""

    @property
    def samples(self) -> int:
        """How many samples there are in a batch; 0 if that is not known."""
        ...

    @property
    def is_varied(self) -> bool:
        """Whether it can be trained on one batch, and on more than one."""
        ...

    def run(self, updates: int, change: Change | None = None, *, same: bool = False) -> Trace:
        """Train for so many updates and return what was seen; `same`: on one batch only."""
        ...

    def doubled(self, times: int) -> Trace | None:
        """Make one update on a batch whose samples are there so many times, if that can be."""
        ...


@contextmanager
def caught(watch: Watch) -> Generator[None]:
    """Note the error that ends a training: it may be what a mistake looks like.

    Raises:
        ExaminationError: it ends the program before there is anything to see.
    """
    try:
        yield
    except SystemExit as error:
        if not watch.updates:
            raise ExaminationError(
                "expected a training, but the program ends before its first update; its command "
                "line was empty: if it needs one, give a function that calls it with its settings"
            ) from error
    except Exception as error:
        if watch.is_over:  # what they do about being stopped is not their training's
            return
        said = first_line(error)
        place = of_error(error)
        watch.tell(
            Failure(place=place, update=watch.update, message=said, kind=type(error).__name__)
        )
