"""Functions of torch replaced for a while, whoever holds a reference to them."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

Wrapper = Callable[..., Any]  # called with the original, and the arguments


@contextmanager
def around(owner: Any, name: str, wrapper: Wrapper) -> Generator[None]:
    """Have `wrapper` called in place of an attribute of a class or module."""
    original = vars(owner)[name]

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    call.__name__ = name
    with patch.object(owner, name, call):
        yield


@contextmanager
def inside(decorated: Any, wrapper: Wrapper) -> Generator[None]:
    """Have `wrapper` called by a decorated function, also where users imported it by name.

    The function proper is in a cell of the decorator's closure: it is replaced there.
    """
    proper = getattr(decorated, "__wrapped__", None)
    cells = [cell for cell in decorated.__closure__ or () if cell.cell_contents is proper]

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(proper, *args, **kwargs)

    call.__name__ = decorated.__name__
    try:
        for cell in cells:
            cell.cell_contents = call
        yield
    finally:
        for cell in cells:
            cell.cell_contents = proper


@contextmanager
def on_apply(told: Callable[[Any, tuple[Any, ...]], None]) -> Generator[None]:
    """Be told of every call of a `torch.autograd.Function`: the class and the arguments."""
    original: Any = vars(torch.autograd.Function)["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        told(cls, args)
        return original.__func__(cls, *args, **kwargs)

    with patch.object(torch.autograd.Function, "apply", classmethod(apply)):
        yield


def that_define(name: str, base: type) -> list[type]:
    """Return a class and all below it that define an attribute themselves."""
    below = [found for each in base.__subclasses__() for found in that_define(name, each)]
    return [*dict.fromkeys([base, *below] if name in vars(base) else below)]
