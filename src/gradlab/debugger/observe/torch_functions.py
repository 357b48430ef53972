"""Records the calls of torch's functions.

`HANDLERS` lists the recorded functions. This file defines the handlers of logarithms, of values
taken out of the graph, and of changes in place.
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
from gradlab.debugger.observe.function_events import CallHandler, Recorders, ResultHandler

# Operations that keep probabilities near 0 or 1, such as 1 - p and p y + (1 - p)(1 - y).
MIXING = ("Rsub", "Sub", "Neg", "Mul", "Where")
EXITS = ("detach", "item", "__float__", "tolist", "numpy", "tensor", "as_tensor")  # and `.data`
ALIASES = ("data", "detach")  # the result shares memory with a tensor of the graph
CLAMPS = ("clamp_", "clip_")
AUGMENTED = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")
# Errors of a handler for unusual tensors (sparse, nested, inside vmap): no event is recorded.
TENSOR_ERRORS = (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError)


def record_log(recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Record a logarithm.

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.
    """
    _record_logarithm(recorders, args[0], args[0])


def record_log1p(recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Record a logarithm of 1 + x.

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.
    """
    with torch.no_grad():
        _record_logarithm(recorders, args[0], args[0] + 1)


def _record_logarithm(recorders: Recorders, x: Tensor, argument: Tensor) -> None:
    """Record a logarithm.

    Args:
        recorders: the recorders of the training.
        x: the tensor whose graph is read.
        argument: the argument of the logarithm.
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
    recorders.log.add(
        Logarithm(
            **recorders.log.now(),
            zeros=zeros,
            size=x.numel(),
            origin=next(iter(kinds)) if len(kinds) == 1 else "",
            dtype=str(x.dtype).removeprefix("torch."),
        )
    )


def _is_mixing(node: Any) -> bool:
    """Return whether a node mixes probabilities, without an added constant that prevents 0."""
    has_no_constant = all(other is not None for other, _ in node.next_functions)
    adds = autograd_graph.operation(node) == "Add" and has_no_constant
    return adds or autograd_graph.operation(node) in MIXING


@cache
def exit_handler(how: str) -> CallHandler:
    """Return the handler of a function that takes a value out of the graph."""

    def handle(
        recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultHandler | None:
        source = args[0] if args else None
        if how == "numpy" and isinstance(source, Tensor) and not source.requires_grad:
            event = GraphExit(**recorders.log.now(), how=how, reaches=frozenset())
            recorders.backward.arrays.add_array(event, source)
        sources = [each for each in _tensors(source) if each.grad_fn is not None]
        if not sources or (how == "as_tensor" and sources[0] is source):
            return None
        reaches = frozenset[int]().union(*map(autograd_graph.leaves, sources))
        event = GraphExit(**recorders.log.now(), how=how, reaches=reaches)
        recorders.log.add(event)
        return (lambda out: recorders.backward.add_alias(event, out)) if how in ALIASES else None

    return handle


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield a tensor, or the tensors of a nested list."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


@cache
def in_place_handler(name: str) -> CallHandler:
    """Return the handler of a function that changes a tensor in place."""

    def handle(
        recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultHandler | None:
        tensor = args[0] if args else None
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        if name in CLAMPS and recorders.log.is_grad(tensor):
            return recorders.steps.start_clip(name)
        if tensor.requires_grad:
            shape, version = tuple(tensor.shape), tensor._version + 1
            recorders.log.add(
                InPlaceChange(**recorders.log.now(), name=name, shape=shape, version=version)
            )
        return None

    return handle


HANDLERS: dict[str, CallHandler] = {
    **{name: function_events.loss_handler(name) for name in function_events.LOSSES},
    **dict.fromkeys(
        ("sub", "__sub__", "__rsub__", "rsub", "subtract"), function_events.record_difference
    ),
    "mean": function_events.reduction_handler(True),
    "sum": function_events.reduction_handler(False),
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), function_events.record_linear),
    **dict.fromkeys(("matmul", "__matmul__", "mm"), function_events.record_linear),
    **dict.fromkeys(("softmax", "log_softmax"), function_events.record_line),
    **{name: function_events.saturation_handler(name) for name in ("sigmoid", "tanh")},
    **dict.fromkeys(("relu", "relu_"), function_events.record_relu),
    **dict.fromkeys(("clamp", "clamp_min"), function_events.record_clamp),
    **dict.fromkeys(("log", "log2", "log10"), record_log),
    "log1p": record_log1p,
    **{how: exit_handler(how) for how in EXITS},
}


class FunctionCalls(TorchFunctionMode):
    """Records the calls of torch's functions; a context manager.

    Args:
        recorders: the recorders of the training.
    """

    def __init__(self, recorders: Recorders) -> None:
        super().__init__()
        self.recorders = recorders

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
            kwargs: its keyword arguments.

        Returns:
            Its result.
        """
        kwargs = kwargs or {}
        handle_call = None if self.recorders.log.paused else _handler(func)
        handle_result: ResultHandler | None = None
        if handle_call is not None:
            with suppress(*TENSOR_ERRORS):
                handle_result = handle_call(self.recorders, args, kwargs)
        out = func(*args, **kwargs)
        if handle_result is not None:
            with suppress(*TENSOR_ERRORS):
                handle_result(out)
        return out


def _handler(func: Callable[..., Any]) -> CallHandler | None:
    name = getattr(func, "__name__", "")
    if name in HANDLERS:
        return HANDLERS[name]
    if name == "__get__":
        return exit_handler("data") if getattr(func, "__self__", None) == Tensor.data else None
    is_changing = name.endswith("_") and not name.startswith("_")
    return in_place_handler(name) if is_changing or name in AUGMENTED else None
