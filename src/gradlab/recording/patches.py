"""Wrap functions of torch, or of any module or class, while a context is open.

Monitor and debugger wrap functions here and nowhere else. Contexts may nest, close in any order and
open in several threads. Another tool may patch the same function between them, and may leave its
patch in place: gradlab's contexts still see every call once, and the other patch stays.
"""

import itertools
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial, update_wrapper
from inspect import unwrap
from typing import Any, cast

Wrapper = Callable[..., Any]
"""Called as `wrapper(original, *args, **kwargs)`; returns the result of the call."""


@contextmanager
def wrap(owner: Any, name: str, wrapper: Wrapper) -> Generator[None]:
    """Call `wrapper` in place of a function, in all threads, until the context closes.

    The wrapper of the context that opened last is called first; its `original` is the next wrapper.

    Args:
        owner: the module or class that defines the function.
        name: the attribute; a function, method, class method or static method.
        wrapper: called as `wrapper(original, *args, **kwargs)`.

    >>> import math
    >>> with wrap(math, "sqrt", lambda original, x: -original(x)):
    ...     math.sqrt(4)
    -2.0
    >>> math.sqrt(4)
    2.0
    """
    entry = partial(wrapper)  # an object for each context, for the same wrapper may be given twice
    with _lock:
        patch = _patches.setdefault((id(owner), name), _Patch(owner, name))
        patch.add(entry)
    try:
        yield
    finally:
        with _lock:
            patch.remove(entry)
            if not patch.dispatchers:
                _patches.pop((id(owner), name), None)


@contextmanager
def wrap_decorated(decorated: Any, wrapper: Wrapper) -> Generator[None]:
    """Call `wrapper` in place of a decorated function, also where users imported it by name.

    The closure of the decorator holds the undecorated function in a cell: it is replaced there.
    """
    undecorated = unwrap(decorated)
    with ExitStack() as stack:
        for cell in decorated.__closure__ or ():
            if unwrap(cell.cell_contents) is undecorated:
                stack.enter_context(wrap(cell, "cell_contents", wrapper))
        yield


def classes_that_define(name: str, base: type) -> list[type]:
    """Return the classes, from `base` down, that define an attribute themselves."""
    below = [each for sub in base.__subclasses__() for each in classes_that_define(name, sub)]
    return [*dict.fromkeys([base, *below] if name in vars(base) else below)]


class _Patch:
    """All wrappers of one function, and the dispatchers that call them.

    One dispatcher suffices, unless another tool patches the function while it is wrapped. A later
    context then installs a second dispatcher, around that patch. Of the dispatchers that one call
    passes through, only the outermost, which has the highest level, calls the wrappers.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name
        self.wrappers: tuple[Wrapper, ...] = ()
        self.dispatchers: list[tuple[Any, Any]] = []  # each with the attribute that it replaced
        self._calls = threading.local()

    def add(self, wrapper: Wrapper) -> None:
        """Add a wrapper, and a dispatcher if the function is not one."""
        if self._replaced() is None:
            self._install()
        self.wrappers += (wrapper,)

    def remove(self, wrapper: Wrapper) -> None:
        """Remove a wrapper; after the last one, remove the dispatchers that nobody wrapped."""
        self.wrappers = tuple(each for each in self.wrappers if each is not wrapper)
        while not self.wrappers and (found := self._replaced()):
            self.dispatchers.remove(found)
            setattr(self.owner, self.name, found[1])

    def _attribute(self) -> Any:
        """Return the attribute without binding it."""
        has_attributes = hasattr(self.owner, "__dict__")  # modules and classes; cells have none
        return vars(self.owner)[self.name] if has_attributes else getattr(self.owner, self.name)

    def _replaced(self) -> tuple[Any, Any] | None:
        """Return the current dispatcher and what it replaced; None if there is no dispatcher."""
        current = self._attribute()
        return next((pair for pair in self.dispatchers if pair[0] is current), None)

    def _install(self) -> None:
        attribute, level = self._attribute(), next(_levels)
        kind = type(attribute) if isinstance(attribute, classmethod | staticmethod) else None
        original = cast("Wrapper", attribute.__func__ if kind else attribute)

        def dispatch(*args: Any, **kwargs: Any) -> Any:
            wrappers, outer = self.wrappers, getattr(self._calls, "level", 0)
            if outer > level or not wrappers:
                return original(*args, **kwargs)
            function: Wrapper = original
            for wrapper in wrappers:
                function = update_wrapper(partial(wrapper, function), function)
            self._calls.level = level
            try:
                return function(*args, **kwargs)
            finally:
                self._calls.level = outer

        update_wrapper(dispatch, original)
        dispatcher = kind(dispatch) if kind else dispatch
        setattr(self.owner, self.name, dispatcher)
        self.dispatchers.append((dispatcher, attribute))


_lock = threading.RLock()
_levels = itertools.count(1)
_patches: dict[tuple[int, str], _Patch] = {}
