"""A failure of the monitor ends its record, not the training."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Failures:
    """Handles exceptions of the monitor's code.

    Args:
        alone: Whether this is the only process. If other processes wait for this one's part of the
            record, a failure is raised, for they would wait forever.
        report: Called with the first failure.

    Attributes:
        failed: Whether there was a failure; the record has then ended.
    """

    def __init__(self, alone: bool, report: Callable[[Exception], None]) -> None:
        self.failed = False
        self._alone, self._report = alone, report

    def handle(self, error: Exception) -> None:
        """End the record.

        Raises:
            Exception: The failure, if other processes take part.
        """
        if not self._alone:
            raise error
        self.failed = True
        self._report(error)


class HasFailures(Protocol):
    """An object whose methods may be decorated by `catch_failures`."""

    @property
    def failures(self) -> Failures:
        """The handler of its exceptions."""
        ...


F = TypeVar("F", bound=HasFailures)


def catch_failures(method: Callable[Concatenate[F, P], R]) -> Callable[Concatenate[F, P], R | None]:
    """Let a method that the training calls return None instead of raising an exception."""

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
