"""State put back, bit by bit, after a training that was only a trial."""

import argparse
import random
import sys
import types
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gradlab.debugger.observe.source_lines import is_library
from gradlab.debugger.sandbox.restore import (
    Undo,
    fill,
    generators,
    of_tensor,
    refill,
    rewrite,
    set_attribute,
    set_state,
    settings,
)

PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
OPAQUE = (types.ModuleType, types.BuiltinFunctionType, Dataset, DataLoader)
BARE = (types.SimpleNamespace, argparse.Namespace)  # of Python's own, what users keep state in


@contextmanager
def kept(*roots: Any) -> Generator[None]:
    """Leave everything reachable from these objects as it was, torch's settings, and generators.

    Tensors (with their gradients), arrays, attributes of objects, functions and classes, lists,
    dicts, sets, and the variables that functions close over or name are put back; modules of
    Python, data sets and open files are not looked into.
    """
    undo = [*settings(), *generators(), *_walked(roots)[1]]
    try:
        yield
    finally:
        for each in undo:
            each()


def reachable(*roots: Any) -> list[Any]:
    """Return all objects that `kept` would put back."""
    return _walked(roots)[0]


def _walked(roots: tuple[Any, ...]) -> tuple[list[Any], list[Undo]]:
    """Return all objects that these lead to, and what puts each of them back."""
    seen: dict[int, Any] = {}
    undo: list[Undo] = []
    waiting = [*roots]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (*PLAIN, *OPAQUE)) or id(each) in seen:
            continue
        seen[id(each)] = each  # kept alive, so that no id is used twice
        own, further = _state(each)
        undo += own
        waiting += further
    return [*seen.values()], undo


def _state(each: Any) -> tuple[Sequence[Undo], list[Any]]:
    """Return what puts one object back, and the objects that it leads to."""
    if isinstance(each, Tensor):
        return ([of_tensor(each)], [each.grad]) if each.is_leaf else ([], [])
    if isinstance(each, np.ndarray):
        return [partial(fill, each, each.copy())] if each.flags.writeable else [], []
    if isinstance(each, dict):
        return [partial(refill, each, dict(each))], [*each.values()]
    if isinstance(each, list | deque):
        held = [*each]
        return [partial(rewrite, each, held)], held
    if isinstance(each, set):
        return [partial(refill, each, set(each))], [*each]
    if isinstance(each, tuple | frozenset):
        return [], [*each]
    if isinstance(each, types.MethodType):
        return [], [each.__self__, each.__func__]
    if isinstance(each, partial):
        return [], [each.func, each.args, each.keywords]
    if isinstance(each, types.FunctionType):
        return _function(each)
    if isinstance(each, type):
        return _class(each)
    if isinstance(each, torch.Generator):
        return [partial(set_state, each, each.get_state())], []
    if isinstance(each, random.Random):
        return [partial(each.setstate, each.getstate())], []
    if isinstance(each, np.random.Generator):
        return [partial(setattr, each.bit_generator, "state", each.bit_generator.state)], []
    if isinstance(each, np.random.RandomState):
        return [partial(each.set_state, each.get_state())], []
    if _is_python(type(each)) and not isinstance(each, BARE):
        return [], []
    slots = {name: getattr(each, name) for name in _slots(type(each)) if hasattr(each, name)}
    undo = [partial(set_attribute, each, name, value) for name, value in slots.items()]
    return undo, [type(each), *slots.values(), getattr(each, "__dict__", None)]


def _slots(kind: type) -> list[str]:
    """Return the attributes that instances of a class of the user's keep outside of a dict."""
    own = [vars(each).get("__slots__", ()) for each in kind.__mro__ if not _is_python(each)]
    names = [[each] if isinstance(each, str) else [*each] for each in own]
    return [name for each in names for name in each if not name.startswith("__")]


def _is_python(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _function(function: types.FunctionType) -> tuple[Sequence[Undo], list[Any]]:
    """Put back the variables that a function closes over, and the globals that it names."""
    if is_library(function.__code__.co_filename):
        return [], []
    undo = list[Undo]()
    inner = list[Any]([function.__defaults__, function.__kwdefaults__, vars(function)])
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not yet assigned
            continue
        undo.append(partial(setattr, cell, "cell_contents", value))
        inner.append(value)
    scope = function.__globals__
    for name in _names(function.__code__):
        if name in scope and not isinstance(scope[name], (type, *OPAQUE)):
            undo.append(partial(scope.__setitem__, name, scope[name]))
            inner.append(scope[name])
    return undo, inner


def _class(kind: type) -> tuple[Sequence[Undo], list[Any]]:
    """Put back what a class of the user's keeps for all instances, and what its methods name."""
    module = sys.modules.get(kind.__module__)
    if is_library(getattr(module, "__file__", None) or "<"):
        return [], []
    own = {name: value for name, value in vars(kind).items() if not name.startswith("__")}
    undo = [partial(set_attribute, kind, name, value) for name, value in own.items()]
    methods = [getattr(value, "__func__", value) for value in vars(kind).values()]
    return undo, [*own.values(), *methods, *kind.__bases__]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
