"""Snapshots the state that a training can reach, and restores it bit by bit."""

import argparse
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import getattr_static
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gradlab.debugger.observe.source_lines import is_library

Undo = Callable[[], object]
PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
OPAQUE = (types.ModuleType, types.BuiltinFunctionType, Dataset, DataLoader)
BARE = (types.SimpleNamespace, argparse.Namespace)  # classes of Python in which users store state


@contextmanager
def restored(*roots: Any) -> Generator[None]:
    """Restore all state that can be reached from some objects, torch's settings and generators.

    This includes tensors with their gradients, arrays, attributes of objects, functions and
    classes, lists, dicts, sets, closures, and globals that functions name. It excludes the content
    of modules, data sets and open files.
    """
    undo = [*settings(), *generators(), *_reached(roots)[1]]
    try:
        yield
    finally:
        for each in undo:
            each()


def reachable(*roots: Any) -> list[Any]:
    """Return all objects that `restored` would restore."""
    return _reached(roots)[0]


def _reached(roots: tuple[Any, ...]) -> tuple[list[Any], list[Undo]]:
    """Return all objects that the roots refer to, and the functions that restore them."""
    seen: dict[int, Any] = {}
    undo: list[Undo] = []
    waiting = [*roots]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (*PLAIN, *OPAQUE)) or id(each) in seen:
            continue
        seen[id(each)] = each  # stays in memory, so that no id is used twice
        own, further = _state(each)
        undo += own
        waiting += further
    return [*seen.values()], undo


def _state(each: Any) -> tuple[Sequence[Undo], list[Any]]:
    """Return the functions that restore one object, and the objects that it refers to."""
    if isinstance(each, Tensor):
        return ([undo_tensor(each)], [each.grad]) if each.is_leaf else ([], [])
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
    """Return the slots of a user's class, with the slots of its bases."""
    own = [vars(each).get("__slots__", ()) for each in kind.__mro__ if not _is_python(each)]
    names = [[each] if isinstance(each, str) else [*each] for each in own]
    return [name for each in names for name in each if not name.startswith("__")]


def _is_python(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _function(function: types.FunctionType) -> tuple[Sequence[Undo], list[Any]]:
    """Restore the variables that a function closes over, and the globals that it names."""
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
    """Restore the attributes of a user's class, and the globals that its methods name."""
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


def settings() -> Sequence[Undo]:
    """Return the functions that restore torch's settings."""
    return [
        partial(torch.set_grad_enabled, torch.is_grad_enabled()),
        partial(torch.set_default_dtype, torch.get_default_dtype()),
        partial(torch.set_num_threads, torch.get_num_threads()),
        partial(torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()),
    ]


def generators() -> Sequence[Undo]:
    """Return the functions that restore the generators of Python, NumPy and torch."""
    found = [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.random.set_rng_state, torch.random.get_rng_state()),
    ]
    if torch.cuda.is_initialized():
        found.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return found


def undo_tensor(tensor: Tensor) -> Undo:
    """Return the function that restores a tensor's memory, values, gradient and flag."""
    data, grad = tensor.data, tensor.grad
    values, requires_grad = _values(data).clone(), tensor.requires_grad

    def undo() -> None:
        if data.layout != torch.strided or not tensor.is_set_to(data):
            tensor.data = data
        with torch.inference_mode(
            data.is_inference()
        ):  # an inference tensor cannot change elsewhere
            _values(data).copy_(values)
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if tensor.grad is not grad:
            tensor.grad = grad

    return undo


def _values(data: Tensor) -> Tensor:
    """Return the stored values: of a sparse tensor its values, of an expanded tensor each once."""
    if data.layout == torch.sparse_coo:
        return data._values()
    if data.layout != torch.strided:
        return data.values()
    seen = [slice(0, 1) if stride == 0 else slice(None) for stride in data.stride()]
    return data[tuple(seen)]


def set_state(generator: torch.Generator, state: Tensor) -> None:
    """Restore a generator of torch."""
    generator.set_state(state)


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Restore an attribute, also of a frozen object, unless it is unchanged."""
    if getattr_static(owner, name, None) is not value and getattr(owner, name, None) is not value:
        setter = type.__setattr__ if isinstance(owner, type) else object.__setattr__
        setter(owner, name, value)


def fill(array: Any, values: Any) -> None:
    """Restore the values of an array."""
    array[...] = values


def refill(held: Any, values: Any) -> None:
    """Restore the content of a dict or a set, unless it is unchanged."""
    if held != values if isinstance(held, set) else not _same(held, values):
        held.clear()
        held.update(values)


def rewrite(held: Any, values: list[Any]) -> None:
    """Restore the content of a list or a deque."""
    held.clear()
    held.extend(values)


def _same(held: dict[Any, Any], values: dict[Any, Any]) -> bool:
    """Return whether a dict has the same keys in the same order, and identical objects."""
    pairs = zip(held.items(), values.items(), strict=False)
    return len(held) == len(values) and all(k is j and v is u for (k, v), (j, u) in pairs)
