"""Wrap functions of torch, or of any module or class, while a context is open.

The monitor and the debugger wrap all functions with this module. Contexts may nest, close in any
order and open in several threads. If another tool patches the same function in between, its patch
stays, and each wrapper is still called once per call.
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
        owner: The module or class that defines the function.
        name: Name of the function, method, class method or static method.
        wrapper: Called as `wrapper(original, *args, **kwargs)`.

    Yields:
        Nothing.

    Example:
        >>> import math
        >>> with wrap(math, "sqrt", lambda original, x: -original(x)):
        ...     math.sqrt(4)
        -2.0
        >>> math.sqrt(4)
        2.0
    """
    entry = partial(wrapper)  # a new object, because two contexts may have the same wrapper
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

    This replaces the undecorated function in the closure of its decorator.

    Args:
        decorated: The decorated function.
        wrapper: Called as `wrapper(original, *args, **kwargs)`.
    """
    undecorated = unwrap(decorated)
    with ExitStack() as stack:
        for cell in decorated.__closure__ or ():
            if unwrap(cell.cell_contents) is undecorated:
                stack.enter_context(wrap(cell, "cell_contents", wrapper))
        yield


def classes_that_define(name: str, base: type) -> list[type]:
    """Return `base` and its subclasses, without those that only inherit the attribute `name`."""
    below = [each for sub in base.__subclasses__() for each in classes_that_define(name, sub)]
    return [*dict.fromkeys([base, *below] if name in vars(base) else below)]


class _Patch:
    """All wrappers of one function, and the dispatchers that call them.

    One dispatcher suffices, unless another tool patches the function while it is wrapped. A later
    context then installs a second dispatcher around the other patch. If a call passes through
    several dispatchers, only the outermost calls the wrappers; it has the highest level.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name
        self.wrappers: tuple[Wrapper, ...] = ()
        self.dispatchers: list[tuple[Any, Any]] = []  # each with the attribute that it replaced
        self._calls = threading.local()

    def add(self, wrapper: Wrapper) -> None:
        """Add a wrapper; install a dispatcher, unless the function is one."""
        if self._dispatcher() is None:
            self._install()
        self.wrappers += (wrapper,)

    def remove(self, wrapper: Wrapper) -> None:
        """Remove a wrapper; after the last one, remove the dispatchers that are not patched."""
        self.wrappers = tuple(each for each in self.wrappers if each is not wrapper)
        while not self.wrappers and (dispatcher := self._dispatcher()):
            self.dispatchers.remove(dispatcher)
            setattr(self.owner, self.name, dispatcher[1])

    def _attribute(self) -> Any:
        """Return the attribute without binding it."""
        has_attributes = hasattr(self.owner, "__dict__")  # modules and classes; cells have none
        return vars(self.owner)[self.name] if has_attributes else getattr(self.owner, self.name)

    def _dispatcher(self) -> tuple[Any, Any] | None:
        """Return the dispatcher that is the current attribute, with the attribute it replaced."""
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
