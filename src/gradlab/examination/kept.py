"""State put back, bit by bit, after a training that was only a trial."""

import random
import sys
import types
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gradlab.examination.place import is_library

PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
OPAQUE = (type, types.ModuleType, types.BuiltinFunctionType, Dataset, DataLoader, np.ndarray)

Undo = Callable[[], None]


@contextmanager
def kept(*roots: Any) -> Generator[None]:
    """Leave everything reachable from these objects as it was, and all random generators.

    Tensors (with their gradients), attributes, lists, dicts, sets, and the variables that functions
    close over are put back; modules of Python, data sets and open files are not looked into.
    """
    undo = [*_generators(), *_states(roots)]
    try:
        yield
    finally:
        for each in undo:
            each()


def reachable(*roots: Any) -> list[Any]:
    """Return all objects that `kept` would put back."""
    seen: dict[int, Any] = {}
    waiting = [*roots]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (*PLAIN, *OPAQUE)) or id(each) in seen:
            continue
        seen[id(each)] = each  # kept alive, so that no id is used twice
        waiting += _state(each)[1]
    return [*seen.values()]


def _generators() -> list[Undo]:
    """Return what sets the generators of Python, NumPy and torch back."""
    found = [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.random.set_rng_state, torch.random.get_rng_state()),
    ]
    if torch.cuda.is_initialized():
        found.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return found


def _states(roots: tuple[Any, ...]) -> list[Undo]:
    return [undo for each in reachable(*roots) for undo in _state(each)[0]]


def _state(each: Any) -> tuple[list[Undo], list[Any]]:
    """Return what puts one object back, and the objects that it leads to."""
    if isinstance(each, Tensor):
        return ([_tensor(each)], [each.grad]) if each.is_leaf else ([], [])
    if isinstance(each, dict):
        return [partial(_refill, each, dict(each))], [*each.values()]
    if isinstance(each, list | deque):
        held = [*each]
        return [partial(_rewrite, each, held)], held
    if isinstance(each, set):
        return [partial(_refill, each, set(each))], [*each]
    if isinstance(each, tuple | frozenset):
        return [], [*each]
    if isinstance(each, types.MethodType):
        return [], [each.__self__, each.__func__]
    if isinstance(each, partial):
        return [], [each.func, each.args, each.keywords]
    if isinstance(each, types.FunctionType):
        return _function(each)
    if isinstance(each, torch.Generator):
        return [partial(_set_state, each, each.get_state())], []
    if type(each).__module__.partition(".")[0] in sys.stdlib_module_names:
        return [], []
    slots = getattr(each, "__dict__", None)
    return ([], [slots]) if isinstance(slots, dict) else ([], [])


def _tensor(tensor: Tensor) -> Undo:
    """Put a tensor's memory, numbers, gradient and flag back, without autograd's notice."""
    data, grad = tensor.data, tensor.grad
    values, wanted = tensor.detach().clone(), tensor.requires_grad

    def undo() -> None:
        if tensor.data_ptr() != data.data_ptr() or tensor.shape != data.shape:
            tensor.data = data
        if not tensor.is_sparse:
            tensor.data.copy_(values)
        if tensor.requires_grad != wanted:
            tensor.requires_grad_(wanted)
        if tensor.grad is not grad:
            tensor.grad = grad

    return undo


def _set_state(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)


def _refill(held: Any, values: Any) -> None:
    if held != values if isinstance(held, set) else not _same(held, values):
        held.clear()
        held.update(values)


def _same(held: dict[Any, Any], values: dict[Any, Any]) -> bool:
    """Say whether a dict has the same keys in the same order, and the very same objects."""
    pairs = zip(held.items(), values.items(), strict=False)
    return len(held) == len(values) and all(k is j and v is u for (k, v), (j, u) in pairs)


def _rewrite(held: Any, values: list[Any]) -> None:
    held.clear()
    held.extend(values)


def _function(function: types.FunctionType) -> tuple[list[Undo], list[Any]]:
    """Put back the variables that a function closes over, and the globals that it names."""
    if is_library(function.__code__.co_filename):
        return [], []
    undo, inner = list[Undo](), list[Any]([function.__defaults__, function.__kwdefaults__])
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not yet assigned
            continue
        undo.append(partial(setattr, cell, "cell_contents", value))
        inner.append(value)
    scope = function.__globals__
    for name in _names(function.__code__):
        if name in scope and not isinstance(scope[name], OPAQUE):
            undo.append(partial(scope.__setitem__, name, scope[name]))
            inner.append(scope[name])
    return undo, inner


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
