"""Records the calls of torch's functions: the table of notes, and the notes of values.

Values are logarithms, values taken out of the graph, and values changed in place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradlab.debugger.observe import autograd_graph, function_events
from gradlab.debugger.observe.events import GraphExit, InPlaceChange, Logarithm
from gradlab.debugger.observe.function_events import After, Note, Recorders

# 1 - p is as close to 0 as p, and so is p y + (1 - p)(1 - y).
MIXING = ("Rsub", "Sub", "Neg", "Mul", "Where")
EXITS = ("detach", "item", "__float__", "tolist", "numpy", "tensor", "as_tensor")  # and `.data`
ALIASES = ("data", "detach")  # their result shares memory with a tensor of the graph
CLAMPS = ("clamp_", "clip_")
AUGMENTED = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")
# Errors of a note for unusual tensors (sparse, nested, inside vmap): the call is not recorded.
REFUSALS = (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError)


def log(to: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Record a logarithm."""
    _logarithm(to, args[0], args[0])


def log1p(to: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Record a logarithm of 1 + x."""
    with torch.no_grad():
        _logarithm(to, args[0], args[0] + 1)


def _logarithm(to: Recorders, x: Tensor, argument: Tensor) -> None:
    """Record a logarithm.

    Args:
        to: takes the event.
        x: the tensor whose graph is inspected.
        argument: the numbers whose logarithm is computed.
    """
    zeros = int((argument.detach() == 0).sum())
    if not zeros and not x.requires_grad:
        return
    nodes = autograd_graph.origins(x, _is_mixing)
    kinds = {
        "Sigmoid" if autograd_graph.is_sigmoid(node) else autograd_graph.operation(node)
        for node in nodes
    }
    kinds -= {"AccumulateGrad"}
    to.log.add(
        Logarithm(
            **to.log.now(),
            zeros=zeros,
            size=x.numel(),
            origin=next(iter(kinds)) if len(kinds) == 1 else "",
            dtype=str(x.dtype).removeprefix("torch."),
        )
    )


def _is_mixing(node: Any) -> bool:
    """Return whether a node mixes probabilities; an added constant prevents values of 0."""
    has_no_constant = all(other is not None for other, _ in node.next_functions)
    adds = autograd_graph.operation(node) == "Add" and has_no_constant
    return adds or autograd_graph.operation(node) in MIXING


@cache
def graph_exit(how: str) -> Note:
    """Return the note of a function that takes a value out of the graph."""

    def note(to: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        source = args[0] if args else None
        if how == "numpy" and isinstance(source, Tensor) and not source.requires_grad:
            event = GraphExit(**to.log.now(), how=how, reaches=frozenset())
            to.backward.arrays.add_array(event, source)
        sources = [each for each in _tensors(source) if each.grad_fn is not None]
        if not sources or (how == "as_tensor" and sources[0] is source):
            return None
        reaches = frozenset[int]().union(*map(autograd_graph.leaves, sources))
        event = GraphExit(**to.log.now(), how=how, reaches=reaches)
        to.log.add(event)
        return (lambda out: to.backward.add_alias(event, out)) if how in ALIASES else None

    return note


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield a tensor, or the tensors of a nested list, as torch.tensor takes them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


@cache
def in_place(name: str) -> Note:
    """Return the note of a function that changes a tensor in place."""

    def note(to: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        tensor = args[0] if args else None
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        if name in CLAMPS and to.log.is_grad(tensor):
            return to.steps.start_clip(name)
        if tensor.requires_grad:
            shape, version = tuple(tensor.shape), tensor._version + 1
            to.log.add(InPlaceChange(**to.log.now(), name=name, shape=shape, version=version))
        return None

    return note


NOTES: dict[str, Note] = {
    **{name: function_events.loss(name) for name in function_events.LOSSES},
    **dict.fromkeys(("sub", "__sub__", "__rsub__", "rsub", "subtract"), function_events.difference),
    "mean": function_events.reduction(True),
    "sum": function_events.reduction(False),
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), function_events.linear),
    **dict.fromkeys(("matmul", "__matmul__", "mm"), function_events.linear),
    **dict.fromkeys(("softmax", "log_softmax"), function_events.remembered),
    **{name: function_events.saturating(name) for name in ("sigmoid", "tanh")},
    **dict.fromkeys(("relu", "relu_"), function_events.relu),
    **dict.fromkeys(("clamp", "clamp_min"), function_events.clamp),
    **dict.fromkeys(("log", "log2", "log10"), log),
    "log1p": log1p,
    **{how: graph_exit(how) for how in EXITS},
}


class FunctionCalls(TorchFunctionMode):
    """Records the calls of torch's functions while the mode is entered."""

    def __init__(self, to: Recorders) -> None:
        super().__init__()
        self.to = to

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function and record it.

        Args:
            func: the function.
            types: the tensor classes among its arguments.
            args: its arguments.
            kwargs: its named arguments.

        Returns:
            Its result.
        """
        kwargs = kwargs or {}
        note = None if self.to.log.paused else _note(func)
        after: After | None = None
        if note is not None:
            with suppress(*REFUSALS):
                after = note(self.to, args, kwargs)
        out = func(*args, **kwargs)
        if after is not None:
            with suppress(*REFUSALS):
                after(out)
        return out


def _note(func: Callable[..., Any]) -> Note | None:
    name = getattr(func, "__name__", "")
    if name in NOTES:
        return NOTES[name]
    if name == "__get__":
        return graph_exit("data") if getattr(func, "__self__", None) == Tensor.data else None
    is_changing = name.endswith("_") and not name.startswith("_")
    return in_place(name) if is_changing or name in AUGMENTED else None
