"""Saves the state that a training can reach, and restores it bit by bit."""

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

Restorer = Callable[[], object]
PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
OPAQUE = (types.ModuleType, types.BuiltinFunctionType, Dataset, DataLoader)
BARE = (types.SimpleNamespace, argparse.Namespace)  # standard classes in which users store state


@contextmanager
def restored(*roots: Any) -> Generator[None]:
    """Restore the state of some objects, the random generators and the settings of torch.

    This includes tensors with their gradients, arrays, attributes of objects, functions and
    classes, lists, dicts, sets, closures, and globals that functions name. It excludes the content
    of modules, data sets and open files.
    """
    restorers = [*settings_restorers(), *generator_restorers(), *_explore(roots)[1]]
    try:
        yield
    finally:
        for each in restorers:
            each()


def reachable_objects(*roots: Any) -> list[Any]:
    """Return all objects that `restored` would restore."""
    return _explore(roots)[0]


def _explore(roots: tuple[Any, ...]) -> tuple[list[Any], list[Restorer]]:
    """Return all objects that the roots refer to, and the functions that restore them."""
    seen: dict[int, Any] = {}
    restorers: list[Restorer] = []
    waiting = [*roots]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (*PLAIN, *OPAQUE)) or id(each) in seen:
            continue
        seen[id(each)] = each  # stays in memory, so that no id is used twice
        new_restorers, further = _inspect(each)
        restorers += new_restorers
        waiting += further
    return [*seen.values()], restorers


def _inspect(each: Any) -> tuple[Sequence[Restorer], list[Any]]:
    """Return the functions that restore one object, and the objects that it refers to."""
    if isinstance(each, Tensor):
        return ([tensor_restorer(each)], [each.grad]) if each.is_leaf else ([], [])
    if isinstance(each, np.ndarray):
        return [partial(restore_array, each, each.copy())] if each.flags.writeable else [], []
    if isinstance(each, dict):
        return [partial(restore_items, each, dict(each))], [*each.values()]
    if isinstance(each, list | deque):
        items = [*each]
        return [partial(restore_sequence, each, items)], items
    if isinstance(each, set):
        return [partial(restore_items, each, set(each))], [*each]
    if isinstance(each, tuple | frozenset):
        return [], [*each]
    if isinstance(each, types.MethodType):
        return [], [each.__self__, each.__func__]
    if isinstance(each, partial):
        return [], [each.func, each.args, each.keywords]
    if isinstance(each, types.FunctionType):
        return _inspect_function(each)
    if isinstance(each, type):
        return _inspect_class(each)
    if isinstance(each, torch.Generator):
        return [partial(restore_generator, each, each.get_state())], []
    if isinstance(each, random.Random):
        return [partial(each.setstate, each.getstate())], []
    if isinstance(each, np.random.Generator):
        return [partial(setattr, each.bit_generator, "state", each.bit_generator.state)], []
    if isinstance(each, np.random.RandomState):
        return [partial(each.set_state, each.get_state())], []
    if _is_python(type(each)) and not isinstance(each, BARE):
        return [], []
    slots = {name: getattr(each, name) for name in _slots(type(each)) if hasattr(each, name)}
    restorers = [partial(restore_attribute, each, name, value) for name, value in slots.items()]
    return restorers, [type(each), *slots.values(), getattr(each, "__dict__", None)]


def _slots(kind: type) -> list[str]:
    """Return the slots of a user's class, with the slots of its bases."""
    slots = [vars(each).get("__slots__", ()) for each in kind.__mro__ if not _is_python(each)]
    names = [[each] if isinstance(each, str) else [*each] for each in slots]
    return [name for each in names for name in each if not name.startswith("__")]


def _is_python(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _inspect_function(function: types.FunctionType) -> tuple[Sequence[Restorer], list[Any]]:
    """Inspect the variables that a function closes over, and the globals that it names."""
    if is_library(function.__code__.co_filename):
        return [], []
    restorers = list[Restorer]()
    inner = list[Any]([function.__defaults__, function.__kwdefaults__, vars(function)])
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not yet assigned
            continue
        restorers.append(partial(setattr, cell, "cell_contents", value))
        inner.append(value)
    scope = function.__globals__
    for name in _names(function.__code__):
        if name in scope and not isinstance(scope[name], (type, *OPAQUE)):
            restorers.append(partial(scope.__setitem__, name, scope[name]))
            inner.append(scope[name])
    return restorers, inner


def _inspect_class(kind: type) -> tuple[Sequence[Restorer], list[Any]]:
    """Inspect the attributes of a user's class, and its methods."""
    module = sys.modules.get(kind.__module__)
    if is_library(getattr(module, "__file__", None) or "<"):
        return [], []
    members = {name: value for name, value in vars(kind).items() if not name.startswith("__")}
    restorers = [partial(restore_attribute, kind, name, value) for name, value in members.items()]
    methods = [getattr(value, "__func__", value) for value in vars(kind).values()]
    return restorers, [*members.values(), *methods, *kind.__bases__]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def settings_restorers() -> Sequence[Restorer]:
    """Return the functions that restore torch's settings."""
    return [
        partial(torch.set_grad_enabled, torch.is_grad_enabled()),
        partial(torch.set_default_dtype, torch.get_default_dtype()),
        partial(torch.set_num_threads, torch.get_num_threads()),
        partial(torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()),
    ]


def generator_restorers() -> Sequence[Restorer]:
    """Return the functions that restore the generators of Python, NumPy and torch."""
    found = [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.random.set_rng_state, torch.random.get_rng_state()),
    ]
    if torch.cuda.is_initialized():
        found.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return found


def tensor_restorer(tensor: Tensor) -> Restorer:
    """Return the function that restores a tensor: its memory, values, gradient, `requires_grad`."""
    data, grad = tensor.data, tensor.grad
    values, requires_grad = _values(data).clone(), tensor.requires_grad

    def restore() -> None:
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

    return restore


def _values(data: Tensor) -> Tensor:
    """Return the stored values of a tensor: each value of an expanded tensor only once."""
    if data.layout == torch.sparse_coo:
        return data._values()
    if data.layout != torch.strided:
        return data.values()
    seen = [slice(0, 1) if stride == 0 else slice(None) for stride in data.stride()]
    return data[tuple(seen)]


def restore_generator(generator: torch.Generator, state: Tensor) -> None:
    """Restore a generator of torch."""
    generator.set_state(state)


def restore_attribute(owner: Any, name: str, value: Any) -> None:
    """Restore an attribute, also of a frozen object, unless it is unchanged.

    Args:
        owner: an object or a class.
        name: the attribute.
        value: its earlier value.
    """
    if getattr_static(owner, name, None) is not value and getattr(owner, name, None) is not value:
        setter = type.__setattr__ if isinstance(owner, type) else object.__setattr__
        setter(owner, name, value)


def restore_array(array: Any, values: Any) -> None:
    """Restore the values of an array."""
    array[...] = values


def restore_items(container: Any, values: Any) -> None:
    """Restore the content of a dict or a set, unless it is unchanged."""
    is_set = isinstance(container, set)
    if container != values if is_set else not _are_identical(container, values):
        container.clear()
        container.update(values)


def restore_sequence(container: Any, values: list[Any]) -> None:
    """Restore the content of a list or a deque."""
    container.clear()
    container.extend(values)


def _are_identical(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    """Return whether two dicts have identical keys in the same order, and identical values."""
    pairs = zip(a.items(), b.items(), strict=False)
    return len(a) == len(b) and all(k is j and v is u for (k, v), (j, u) in pairs)
