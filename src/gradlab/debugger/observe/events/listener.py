"""Who takes the notes, and what a note is."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from gradlab.debugger.observe.trace import Cut, Event


class Listener(Protocol):
    """Who takes the notes."""

    @property
    def quiet(self) -> int:
        """Whether what runs is not to be noted."""
        ...

    @property
    def update(self) -> int:
        """How many updates were made."""
        ...

    @property
    def in_network(self) -> bool:
        """Whether a module with parameters is running."""
        ...

    def now(self) -> dict[str, Any]:
        """Return the place and time that every event has."""
        ...

    def tell(self, event: Event) -> None:
        """Take an event."""
        ...

    def used(self, weight: Tensor, fan_in: int) -> None:
        """Take the moment before a linear map uses a weight for the first time."""
        ...

    def inside(self) -> tuple[int, str]:
        """Return the innermost module that is running, by id and class."""
        ...

    def is_grad(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the gradient of a weight."""
        ...

    def clamped(self, name: str) -> Callable[[Any], None]:
        """Take the moment before a gradient is clamped; return what takes the moment after."""
        ...

    def aliased(self, event: Cut, alias: Tensor) -> None:
        """Take an event whose result shares memory with the graph's."""
        ...

    def lent(self, event: Cut, tensor: Tensor) -> None:
        """Take a tensor without history that becomes an array, and shares memory with it."""
        ...


After = Callable[[Any], None]  # called with what the function returned
Note = Callable[[Listener, tuple[Any, ...], Mapping[str, Any]], After | None]
