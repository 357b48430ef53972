"""An exception in gradlab's code ends the record, but not the training."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Failures:
    """Handles exceptions in the monitor's code.

    Args:
        alone: Whether this is the only process. With several processes, the exception is raised,
            because the others would wait forever for this process's part of the record.
        report: Called with the first exception.

    Attributes:
        failed: Whether an exception has ended the record.
    """

    def __init__(self, alone: bool, report: Callable[[Exception], None]) -> None:
        self.failed = False
        self._alone, self._report = alone, report

    def handle(self, error: Exception) -> None:
        """End the record.

        Raises:
            Exception: The given exception, if there are several processes.
        """
        if not self._alone:
            raise error
        self.failed = True
        self._report(error)


class HasFailures(Protocol):
    """An object with methods decorated by `catch_failures`."""

    @property
    def failures(self) -> Failures:
        """The handler of its exceptions."""
        ...


F = TypeVar("F", bound=HasFailures)


def catch_failures(method: Callable[Concatenate[F, P], R]) -> Callable[Concatenate[F, P], R | None]:
    """Decorate a hook: after an exception in it, it returns None, and no such hook runs again."""

    @wraps(method)
    def safe(self: F, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if self.failures.failed:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.failures.handle(error)
            return None

    return safe
