"""How each kind of object is put back, and torch's settings and all generators with them."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from inspect import getattr_static
from typing import Any

import numpy as np
import torch
from torch import Tensor

Undo = Callable[[], object]


def settings() -> Sequence[Undo]:
    """Return what sets torch's own settings back."""
    return [
        partial(torch.set_grad_enabled, torch.is_grad_enabled()),
        partial(torch.set_default_dtype, torch.get_default_dtype()),
        partial(torch.set_num_threads, torch.get_num_threads()),
        partial(torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()),
    ]


def generators() -> Sequence[Undo]:
    """Return what sets the generators of Python, NumPy and torch back."""
    found = [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.random.set_rng_state, torch.random.get_rng_state()),
    ]
    if torch.cuda.is_initialized():
        found.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return found


def of_tensor(tensor: Tensor) -> Undo:
    """Put a tensor's memory, numbers, gradient and flag back, without autograd's notice."""
    data, grad = tensor.data, tensor.grad
    values, wanted = _numbers(data).clone(), tensor.requires_grad

    def undo() -> None:
        if data.layout != torch.strided or not tensor.is_set_to(data):
            tensor.data = data
        with torch.inference_mode(data.is_inference()):  # such a tensor is changed nowhere else
            _numbers(data).copy_(values)
        if tensor.requires_grad != wanted:
            tensor.requires_grad_(wanted)
        if tensor.grad is not grad:
            tensor.grad = grad

    return undo


def _numbers(data: Tensor) -> Tensor:
    """Return what a tensor keeps in memory: of a sparse one its values, of one expanded, once."""
    if data.layout == torch.sparse_coo:
        return data._values()
    if data.layout != torch.strided:
        return data.values()
    seen = [slice(0, 1) if stride == 0 else slice(None) for stride in data.stride()]
    return data[tuple(seen)]


def set_state(generator: torch.Generator, state: Tensor) -> None:
    """Set torch's generator back."""
    generator.set_state(state)


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Put an attribute back, of a frozen object too, and leave alone one that is there."""
    if getattr_static(owner, name, None) is not value and getattr(owner, name, None) is not value:
        setter = type.__setattr__ if isinstance(owner, type) else object.__setattr__
        setter(owner, name, value)


def fill(array: Any, values: Any) -> None:
    """Write an array's numbers back."""
    array[...] = values


def refill(held: Any, values: Any) -> None:
    """Put back what is in a dict or a set, and leave alone one that has not changed."""
    if held != values if isinstance(held, set) else not _same(held, values):
        held.clear()
        held.update(values)


def rewrite(held: Any, values: list[Any]) -> None:
    """Put back what is in a list or a deque."""
    held.clear()
    held.extend(values)


def _same(held: dict[Any, Any], values: dict[Any, Any]) -> bool:
    """Say whether a dict has the same keys in the same order, and the very same objects."""
    pairs = zip(held.items(), values.items(), strict=False)
    return len(held) == len(values) and all(k is j and v is u for (k, v), (j, u) in pairs)
