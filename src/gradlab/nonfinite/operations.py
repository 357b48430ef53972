"""Check every operation of torch while a step is repeated, and trace inf and NaN to their origins.

A tensor that is not finite has origins. An operation with finite inputs is itself the origin of the
result. Otherwise the result has the origins of its inputs. Two cases differ:

- The program may write inf on purpose, as the mask of an attention. Such a result is deliberate.
- NaN from inputs whose only origins are deliberate begins at this operation: a softmax over a row
  that is masked throughout.

The origins of the loss are the operations that made it inf or NaN. An inf that a later operation
discards is not among them.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import _get_sequence_nr  # pyright: ignore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gradlab.nonfinite.tensor_range import (
    TensorRange,
    all_finite,
    first_nonfinite_index,
    range_of_tensor,
)
from gradlab.nonfinite.user_code import Place, running_places

MIXING = ("addmm", "mm", "bmm", "mv", "convolution", "mkldnn_linear", "embedding")
"""Operations whose input is not a mask."""
SAVED = "_saved_"  # prefix of the tensors that a node of autograd's graph needs
UNREADABLE = (RuntimeError, NotImplementedError, TypeError)  # of sparse, nested, … tensors


@dataclass(frozen=True)
class Operation:
    """One operation of torch.

    Attributes:
        name: Its name, as `sqrt`. In a backward pass, the operation of the forward pass.
        inputs: The ranges of its input tensors. In a backward pass, the inputs of the forward pass.
        output: The range of its result, or of the gradient that it computed.
        values: The entries of the inputs from which the first entry of the result that is not
            finite was computed; empty if that is unknown.
        places: The running lines of the user's code, the innermost first.
        module: Dotted name of the innermost module; None outside of modules.
        call: How many times the module had been called in the step, from 1.
        backward: Whether it ran in the backward pass.
        kernel: In a backward pass, the part of the derivative that ran; empty in Python code.
        kernel_inputs: In a backward pass, the ranges of that operation's inputs.
    """

    # attributes: a plain record, which the explanations read
    name: str
    inputs: tuple[TensorRange, ...]
    output: TensorRange | None = None
    values: tuple[float, ...] = ()
    places: tuple[Place, ...] = ()
    module: str | None = None
    call: int = 1
    backward: bool = False
    kernel: str = ""
    kernel_inputs: tuple[TensorRange, ...] = ()


@dataclass(frozen=True)
class Origin:
    """The place at which values that are not finite begin.

    Attributes:
        order: Number of the operation in the repeated step; smaller is earlier.
        operation: The operation; None for a tensor that was not finite before the step.
        tensor: For such a tensor: the tensor.
        deliberate: Whether the program wrote the value on purpose.
        escape: For a deliberate value: the first operation that mixed it with other entries, as a
            sum does.
    """

    order: int
    operation: Operation | None = None
    tensor: Tensor | None = field(default=None, compare=False)
    deliberate: bool = False
    escape: Operation | None = None


Origins = frozenset[Origin]


class OperationChecks(TorchDispatchMode):
    """Checks every operation; a context manager.

    Args:
        module: Returns name and number of calls of the innermost running module.
        history: Receives every operation with the range of its first result, in order.

    Attributes:
        places: Lines of the user's code from which the repeated call was made.
        end: The frame of gradlab that makes the repeated call.
    """

    def __init__(
        self,
        module: Callable[[], tuple[str | None, int]],
        history: list[Operation | None] | None = None,
    ) -> None:
        super().__init__()
        self.module, self._history = module, history
        self.places: tuple[Place, ...] = ()
        self.end: FrameType | None = None
        self._order = 0
        self._origins: dict[int, Origins] = {}  # by address of the storage
        self._alive: list[Tensor] = []  # so that no address is used twice
        self._of_node: dict[int, Operation] = {}  # by number of the node

    def origins(self, x: Tensor) -> Origins:
        """Return the origins of a tensor; empty if it is finite."""
        return frozenset() if all_finite(x) else self._of_nonfinite(x)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and check its results."""
        kwargs = kwargs or {}
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        before = self._describe(func, inputs)
        known = [self._safe_origins(x) for x in inputs]  # before a change in place
        out = func(*args, **kwargs)
        self._order += 1
        results = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        node: Any = torch._C._current_autograd_node()  # pyright: ignore
        if node is None and before is not None:
            self._of_node.setdefault(_get_sequence_nr() - 1, before)
        for x in results:
            if not _safe_finite(x):
                scalars = [v for v in tree_leaves((args, kwargs)) if isinstance(v, float)]
                origins = self._combine(func, before, inputs, known, x, scalars, node)
                self._origins[_address(x)] = origins
                self._alive.append(x)
            else:
                self._origins.pop(_address(x), None)
        if self._history is not None:
            self._history.append(_with_output(before, results, node is not None))
        return out

    def _describe(self, func: Any, inputs: Sequence[Tensor]) -> Operation | None:
        """Return the operation with the ranges of its inputs; None if they cannot be read."""
        name, call = self.module()
        frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
        places = running_places(frame, self.end) + self.places
        try:
            ranges = tuple(range_of_tensor(x.detach()) for x in inputs)
        except UNREADABLE:
            ranges = ()
        return Operation(_name(func), ranges, places=places, module=name, call=call)

    def _combine(
        self,
        func: Any,
        operation: Operation | None,
        inputs: Sequence[Tensor],
        known: Sequence[Origins],
        out: Tensor,
        scalars: Sequence[float],
        node: Any,
    ) -> Origins:
        """Return the origins of a result that is not finite."""
        before: Origins = frozenset().union(*known)
        is_nan = bool(out.isnan().any())
        real = frozenset(o for o in before if not o.deliberate)
        if real:
            return real
        if not before and any(not math.isfinite(v) for v in scalars):
            return frozenset({Origin(self._order, operation, deliberate=True)})
        had_nan = any(bool(x.isnan().any()) for x, o in zip(inputs, known, strict=True) if o)
        if operation is None:
            return before
        if before and operation.name in MIXING and all(o.tensor is not None for o in before):
            return frozenset(replace(o, deliberate=False) for o in before)
        if before and (not is_nan or had_nan):
            size = max(x.numel() for x, o in zip(inputs, known, strict=True) if o)
            if out.numel() >= size:
                return before
            escape = self._complete(operation, inputs, out, node)
            return frozenset(o if o.escape else replace(o, escape=escape) for o in before)
        return frozenset({Origin(self._order, self._complete(operation, inputs, out, node))})

    def _complete(
        self, operation: Operation, inputs: Sequence[Tensor], out: Tensor, node: Any
    ) -> Operation:
        """Return an operation with the range of its result, and the entries behind it."""
        ranged = range_of_tensor(out.detach())
        if node is None:
            values = _values_at_bad(inputs, out)
            return replace(operation, output=ranged, values=values)
        forward = self._of_node.get(node._sequence_nr())
        if operation.places:  # Python code runs in the backward pass: a custom function, a hook
            values = _values_at_bad(inputs, out)
            places = operation.places + (forward.places if forward else ())
            module = forward.module if forward else None
            changes: dict[str, Any] = {"output": ranged, "values": values, "places": places}
            return replace(operation, module=module, backward=True, **changes)
        saved = [s for s in _saved(node) if s.is_floating_point()]
        return Operation(
            _node_name(node),
            forward.inputs if forward else tuple(range_of_tensor(s.detach()) for s in saved),
            ranged,
            _values_at_bad(saved, out),
            forward.places if forward else operation.places,
            forward.module if forward else None,
            forward.call if forward else 1,
            True,
            operation.name,
            operation.inputs,
        )

    def _safe_origins(self, x: Tensor) -> Origins:
        return frozenset() if _safe_finite(x) else self._of_nonfinite(x)

    def _of_nonfinite(self, x: Tensor) -> Origins:
        known = self._origins.get(_address(x))
        if known is not None:
            return known
        try:
            deliberate = x.numel() == 1 or range_of_tensor(x.detach()).is_mask
        except UNREADABLE:
            deliberate = False
        origins = frozenset({Origin(self._order, None, x, deliberate)})
        self._origins[_address(x)] = origins
        self._alive.append(x)
        return origins


def earliest(origins: Origins) -> Origin | None:
    """Return the first origin in time; deliberate values come last. None if there is none."""
    return min(origins, key=lambda o: (o.deliberate, o.order), default=None)


def _with_output(
    operation: Operation | None, results: Sequence[Tensor], backward: bool
) -> Operation | None:
    """Return an operation with the range of its first result; None if it cannot be read."""
    if operation is None or not results:
        return operation
    try:
        output = range_of_tensor(results[0].detach())
    except UNREADABLE:
        return operation
    return replace(operation, output=output, backward=backward)


def _name(func: Any) -> str:
    """Return the name of an operation of ATen without its overload."""
    return str(func.__name__).partition(".")[0].strip("_") if hasattr(func, "__name__") else "?"


def _node_name(node: Any) -> str:
    """Return the name of a node's operation: `SqrtBackward0` is `sqrt`."""
    text = node.name().rpartition("::")[2].partition("Backward")[0]
    words = [f"_{c.lower()}" if c.isupper() else c for c in text]
    return "".join(words).strip("_") or node.name()


def _saved(node: Any) -> Iterator[Tensor]:
    """Yield the tensors that a node saved in the forward pass."""
    for key in dir(node):
        if not key.startswith(SAVED):
            continue
        try:
            value = getattr(node, key)
        except UNREADABLE:  # already released
            continue
        if isinstance(value, Tensor):
            yield value


def _values_at_bad(inputs: Sequence[Tensor], out: Tensor) -> tuple[float, ...]:
    """Return the entries of the inputs at the first entry of a result that is not finite.

    Args:
        inputs: The input tensors.
        out: The result.

    Returns:
        An entry for each input that can be expanded to the shape of the result; empty if an input
        cannot.
    """
    index = first_nonfinite_index(out.detach())
    values: list[float] = []
    for x in inputs:
        try:
            values.append(float(x.detach().expand(out.shape)[index]))
        except (RuntimeError, TypeError, ValueError):  # other shapes, complex numbers
            return ()
    return tuple(values)


def _safe_finite(x: Tensor) -> bool:
    try:
        return all_finite(x)
    except UNREADABLE:
        return True


def _address(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()
