"""What keeps a failure of the watching from becoming one of the training."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Fuse:
    """Ends the record where it fails, and lets the training go on.

    Args:
        alone: whether no other process waits for this one's part of the record; if one does, a
            failure is raised, for it would wait forever.
        tell: is called with the failure.
    """

    def __init__(self, alone: bool, tell: Callable[[Exception], None]) -> None:
        self.blown = False
        self._alone, self._tell = alone, tell

    def blow(self, error: Exception) -> None:
        """Take note of a failure.

        Raises:
            Exception: the failure, if this process is not alone.
        """
        if not self._alone:
            raise error
        self.blown = True
        self._tell(error)


class Fused(Protocol):
    """What has a fuse."""

    fuse: Fuse


F = TypeVar("F", bound=Fused)


def harmless(method: Callable[Concatenate[F, P], R]) -> Callable[Concatenate[F, P], R | None]:
    """Have a method that the training calls blow its object's fuse instead of failing."""

    @wraps(method)
    def guarded(self: F, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if self.fuse.blown:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.fuse.blow(error)
            return None

    return guarded
