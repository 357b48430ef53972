"""Logarithms, values taken out of the graph, and values changed in place."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.events.listener import After, Listener, Note
from gradlab.debugger.observe.trace import Cut, InPlace, Log

MIXING = (
    "Rsub",
    "Sub",
    "Neg",
    "Mul",
    "Where",
)  # 1 - p is as bare as p, and so is p y + (1 - p)(1 - y)
CUTS = ("detach", "item", "__float__", "tolist", "numpy", "tensor", "as_tensor")  # and `.data`
ALIASES = ("data", "detach")  # what they return shares memory with the graph's tensor
CLAMPS = ("clamp_", "clip_")


def log(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Note a logarithm."""
    _logarithm(listener, args[0], args[0])


def log1p(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Note a logarithm of 1 + x."""
    with torch.no_grad():
        _logarithm(listener, args[0], args[0] + 1)


def _logarithm(listener: Listener, x: Tensor, argument: Tensor) -> None:
    zeros = int((argument.detach() == 0).sum())
    if not zeros and not x.requires_grad:
        return
    nodes = autograd_graph.origins(x, _is_mixing)
    kinds = {
        "Sigmoid" if autograd_graph.is_sigmoid(node) else autograd_graph.kind(node)
        for node in nodes
    }
    kinds -= {"AccumulateGrad"}
    listener.tell(
        Log(
            **listener.now(),
            zeros=zeros,
            size=x.numel(),
            origin=next(iter(kinds)) if len(kinds) == 1 else "",
            dtype=str(x.dtype).removeprefix("torch."),
        )
    )


def _is_mixing(node: Any) -> bool:
    """Say whether a node mixes probabilities; a constant that is added keeps them away from 0."""
    adds = autograd_graph.kind(node) == "Add" and all(
        other is not None for other, _ in node.next_functions
    )
    return adds or autograd_graph.kind(node) in MIXING


@cache
def cut(how: str) -> Note:
    """Return the note of what takes a value out of the graph."""

    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        source = args[0] if args else None
        if how == "numpy" and isinstance(source, Tensor) and not source.requires_grad:
            listener.lent(Cut(**listener.now(), how=how, reaches=frozenset()), source)
        sources = [each for each in _tensors(source) if each.grad_fn is not None]
        if not sources or (how == "as_tensor" and sources[0] is source):
            return None
        reaches = frozenset[int]().union(*map(autograd_graph.leaves, sources))
        event = Cut(**listener.now(), how=how, reaches=reaches)
        listener.tell(event)
        return (lambda out: listener.aliased(event, out)) if how in ALIASES else None

    return note


def _tensors(given: Any) -> Iterator[Tensor]:
    """Yield a tensor, or those of a list, as torch.tensor takes them."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _tensors(each)


@cache
def in_place(name: str) -> Note:
    """Return the note of what changes a tensor in place."""

    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        tensor = args[0] if args else None
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        if name in CLAMPS and listener.is_grad(tensor):
            return listener.clamped(name)
        if tensor.requires_grad:
            shape, version = tuple(tensor.shape), tensor._version + 1
            listener.tell(InPlace(**listener.now(), name=name, shape=shape, version=version))
        return None

    return note
