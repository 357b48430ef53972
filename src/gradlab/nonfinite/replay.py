"""Repeat the recorded calls of a step, with a check of every operation.

The repetition uses the same arguments, weights and random numbers, and leaves random generators,
buffers and attributes of modules as they were. It may run before or after the backward pass, as
long as the step has not changed the weights.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from gradlab.nonfinite.operations import Operation, OperationChecks, Origin, Origins, earliest
from gradlab.nonfinite.recorded_calls import (
    Argument,
    RecordedCall,
    call_of,
    calls_of,
    map_tensors,
    rng_states,
    set_rng_states,
    tensors_of,
)

IN_PLACE = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__")


@dataclass(frozen=True)
class Replay:
    """The result of a repeated step.

    Attributes:
        origin: The first operation or tensor from which a value that is not finite began; None if
            every number was finite.
        in_backward: Whether the loss was finite.
        exact: Whether the loss was the same number again, and no argument had changed.
        operations: The operations of the step in order; empty if they were not recorded.
    """

    origin: Origin | None
    in_backward: bool
    exact: bool
    operations: Sequence[Operation | None] = ()


class ModuleNames:
    """Names of the running modules, and how often each was called; a context manager.

    Args:
        names: Names of modules, by id.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._running: list[nn.Module] = []
        self._calls: dict[int, int] = {}

    def innermost(self) -> tuple[str | None, int]:
        """Return name and number of calls of the innermost module with a name."""
        for module in reversed(self._running):
            if id(module) in self._names:
                return self._names[id(module)], self._calls[id(module)]
        return None, 1

    @contextmanager
    def observe(self) -> Generator[None]:
        """Follow the calls of all modules until the context closes."""

        def enter(module: nn.Module, args: Any) -> None:
            self._running.append(module)
            self._calls[id(module)] = self._calls.get(id(module), 0) + 1

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self._running.pop()

        handles = (
            module_hooks.register_module_forward_pre_hook(enter),
            module_hooks.register_module_forward_hook(leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def replay(
    roots: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    names: Mapping[int, str],
    *,
    with_operations: bool = False,
) -> Replay:
    """Repeat the calls that computed some tensors, and then their backward pass.

    Args:
        roots: The tensors on which the backward pass is called.
        grads: The gradients from which it starts; None for 1.
        parameters: The parameters whose gradients are computed.
        names: Names of modules, by id.
        with_operations: Whether the result has all operations with their ranges.

    Returns:
        The first origin of values that are not finite, in the roots or in the gradients.
    """
    calls = calls_of(roots)
    modules = ModuleNames(names)
    history: list[Operation | None] | None = [] if with_operations else None
    checks = OperationChecks(modules.innermost, history)
    with _restored(calls), modules.observe(), torch.enable_grad():
        results: dict[int, list[Tensor]] = {}
        leaves = [p for p in parameters if p.requires_grad and p.is_leaf]
        for call in calls:
            results[call.number] = _repeat(call, results, leaves, checks)
        repeated = [_result(root, results) for root in roots]
        exact = all(map(_is_same, repeated, roots)) and all(
            each.is_unchanged for call in calls for each in call.arguments() if each.source is None
        )
        with checks:
            origins: Origins = frozenset().union(*map(checks.origins, repeated))
        if origins:
            return Replay(earliest(origins), False, exact, history or ())
        origins = _backward(repeated, grads, leaves, checks)
        return Replay(earliest(origins), True, exact, history or ())


def _repeat(
    call: RecordedCall,
    results: Mapping[int, list[Tensor]],
    leaves: list[Tensor],
    checks: OperationChecks,
) -> list[Tensor]:
    """Repeat a call.

    Args:
        call: The call.
        results: The results of earlier calls.
        leaves: Receives the arguments whose gradient the backward pass must compute, because no
            recorded call computed them.
        checks: Checks the operations.

    Returns:
        The results as a flat list.
    """
    name = getattr(call.function, "__name__", "")
    changes = name in IN_PLACE or (name.endswith("_") and not name.startswith("_"))

    def value(x: Argument) -> Tensor:
        if x.source is not None and x.source[0].number in results:
            return results[x.source[0].number][x.source[1]]
        if x.value.is_leaf and x.value.requires_grad:
            return x.value
        copied = x.value.clone() if changes else x.value.detach()
        if x.requires_grad and not changes:
            leaves.append(copied.requires_grad_())
        return copied

    args = map_tensors(value, call.args, Argument)
    kwargs = map_tensors(value, call.kwargs, Argument)
    checks.places, checks.end = call.places, sys._getframe()  # pyright: ignore
    for part, values in call.state:
        vars(part).update(values)
    if call.rng is not None:
        set_rng_states(call.rng)
    with ExitStack() as stack:
        for device, dtype in call.autocast.items():
            stack.enter_context(torch.autocast(device, dtype))
        stack.enter_context(checks)
        out = call.function(*args, **kwargs)
    return [*tensors_of(args[0] if out is None and args else out)]


def _backward(
    roots: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    leaves: Sequence[Tensor],
    checks: OperationChecks,
) -> Origins:
    """Compute the gradients, and return the origins of the entries that are not finite."""
    used = [root for root in roots if root.requires_grad]
    starts = [g for root, g in zip(roots, grads, strict=True) if root.requires_grad]
    if not used or not leaves:
        return frozenset()
    checks.places, checks.end = (), sys._getframe()  # pyright: ignore[reportPrivateUsage]
    with checks:
        found: Any = torch.autograd.grad(used, leaves, starts, retain_graph=True, allow_unused=True)
        return frozenset().union(*(checks.origins(g) for g in found if g is not None))


def _result(root: Tensor, results: Mapping[int, list[Tensor]]) -> Tensor:
    """Return the repeated root; the root itself if no call computed it."""
    found = call_of(root)
    return root.detach() if found is None else results[found[0].number][found[1]]


def _is_same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.detach().nan_to_num(nan=0.5), b.detach().nan_to_num(nan=0.5))


@contextmanager
def _restored(calls: Sequence[RecordedCall]) -> Generator[None]:
    """Restore random generators, and buffers and attributes of the called modules.

    A buffer is replaced by a copy, and not changed: autograd may need it for the backward pass.
    """
    roots = [call.function for call in calls if isinstance(call.function, nn.Module)]
    modules = {id(m): m for root in roots for m in root.modules()}.values()
    rng = rng_states()
    states = [(module, dict(vars(module)), dict(_buffers(module))) for module in modules]
    contents = [
        (value, value.copy())
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, list | dict | set) and not name.startswith("_")
    ]
    with torch.no_grad():
        for module, _, buffers in states:
            for name, buffer in buffers.items():
                if buffer is not None:
                    _buffers(module)[name] = buffer.clone()
    try:
        yield
    finally:
        set_rng_states(rng)
        for module, attributes, buffers in states:
            vars(module).clear()
            vars(module).update(attributes)
            _buffers(module).clear()
            _buffers(module).update(buffers)
        for value, before in contents:
            _refill(value, before)


def _buffers(module: nn.Module) -> dict[str, Tensor | None]:
    return module._buffers  # pyright: ignore


def _refill(container: Any, before: Any) -> None:
    """Set the contents of a list, a dictionary or a set."""
    container.clear()
    (container.extend if isinstance(container, list) else container.update)(before)
