"""Record outputs and gradients of modules, with hooks that exist while the network is watched.

A call of a module counts only when its gradient arrives in a `backward()`. So gradlab ignores
evaluation, the first forward pass of a checkpoint, and gradients from `torch.autograd.grad`.
"""

import threading
import weakref
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.monitor.activations import IntervalCache, is_activation
from gradlab.monitor.calls import Call, InputGradient, has_dense_gradient
from gradlab.monitor.failsafe import Failures, catch_failures
from gradlab.monitor.tensor_norms import mean_std, norm_of
from gradlab.monitor.watched_modules import WatchedModule, owns_weights
from gradlab.nonfinite.recorded_calls import tensors_of
from gradlab.recording.eager_hooks import Hook, HookFunction


class _ForwardPass(threading.local):
    """The state of a forward pass. Each thread has its state, because other threads may evaluate.

    Attributes:
        begun: Calls that have begun and not ended, keyed by the module's index.
        activating: The call whose output an activation is processing, keyed by the activation's id.
        last: The call that ended last, if no other module has been called since.
        order: Indices of modules in the order of their first outputs.
    """

    def __init__(self) -> None:
        self.begun: dict[int, list[tuple[Call, InputGradient | None]]] = defaultdict(list)
        self.activating: dict[int, Call] = {}
        self.last: Call | None = None
        self.order: list[int] = []


class WatchedSignals:
    """Collects the calls of watched modules whose gradients have arrived.

    Args:
        network: The watched network, without wrappers.
        modules: The watched modules.
        failures: The handler of exceptions in hooks.

    Attributes:
        on: Whether calls are recorded.
        phi: The activation after a module, keyed by the module's index.
    """

    def __init__(
        self, network: nn.Module, modules: Sequence[WatchedModule], failures: Failures
    ) -> None:
        self.modules, self.failures = modules, failures
        self.on, self._in_backward = True, False
        self.phi: dict[int, nn.Module] = {}
        self._network = network
        self._calls: list[Call] = []
        self._pass = _ForwardPass()
        self._recomputed: dict[int, Call] = {}
        self._intervals = IntervalCache()

    @contextmanager
    def observe(self) -> Generator[None]:
        """Register the hooks, and remove them when the context closes."""
        with ExitStack() as stack:
            stack.callback(self.take)
            recorded = {id(watched.module) for watched in self.modules}
            for index, watched in enumerate(self.modules):
                if watched.output_of is not None:
                    before = partial(self._before_call, index, watched.output_of is watched.module)
                    self._hook(stack, watched.output_of, before, partial(self._after_call, index))
            self._hook(stack, self._network, self._forget_last_call, None)
            for module in self._network.modules():
                if is_activation(module):
                    self._hook(stack, module, self._before_activation, self._after_activation)
            for module in self._network.modules():
                if owns_weights(module) and id(module) not in recorded:
                    self._hook(stack, module, self._forget_last_call, None)
            yield

    @contextmanager
    def pause(self) -> Generator[None]:
        """Record no calls inside: gradlab repeats a step there."""
        on, self.on = self.on, False
        try:
            yield
        finally:
            self.on = on

    @property
    def count(self) -> int:
        """The number of calls since the last `take`."""
        return len(self._calls)

    @property
    def order(self) -> list[int]:
        """Indices of modules in the order of their first outputs in this thread."""
        return self._pass.order

    def take(self) -> list[Call]:
        """Return the calls since the last `take`, and start a new collection."""
        calls, self._calls = self._calls, []
        self._pass.begun.clear()
        self._pass.activating.clear()
        self._recomputed.clear()
        self._pass.last = None
        return calls

    def discard_calls(self) -> None:
        """Discard the calls since the last `take`, because their gradients were discarded."""
        self._calls.clear()

    def set_scale(self, since: int, scale: Tensor | None) -> None:
        """Set the loss scale of all calls after the first `since` calls."""
        for call in self._calls[since:]:
            call.scale = scale

    @property
    def in_backward(self) -> bool:
        """Whether a `backward()` is running."""
        return self._in_backward

    @in_backward.setter
    def in_backward(self, running: bool) -> None:
        if running and not self._in_backward:
            self._pass.last = None  # the forward pass has ended
        self._in_backward = running

    def _hook(
        self,
        stack: ExitStack,
        module: nn.Module,
        before: HookFunction,
        after: HookFunction | None,
    ) -> None:
        """Register hooks on a module until the stack closes.

        Args:
            stack: Removes the hooks.
            module: A module. A scripted module accepts no hooks, and has no signals.
            before: Called before each call of the module.
            after: Called after each call.
        """
        if isinstance(module, torch.jit.ScriptModule):
            return
        handles = [module.register_forward_pre_hook(Hook(before), with_kwargs=True)]
        if after is not None:
            handles.append(module.register_forward_hook(Hook(after)))
        for handle in handles:
            stack.callback(handle.remove)

    @property
    def _recording(self) -> bool:
        return self.on and torch.is_grad_enabled()

    @catch_failures
    def _before_call(
        self,
        index: int,
        is_owner: bool,
        module: nn.Module,
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        """Begin a call, perhaps inside another call of the same module.

        Args:
            index: The module's index.
            is_owner: Whether `module` owns the weights, so that its input is their input.
            module: The called module.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
        """
        if not self._recording:
            return
        first = next(iter([*args, *kwargs.values()]), None)
        gradient = None
        if is_owner and has_dense_gradient(first):
            gradient = InputGradient(first)
        self._pass.begun[index].append((Call(index), gradient))

    @catch_failures
    def _after_call(self, index: int, module: nn.Module, args: Any, output: Any) -> None:
        """Record the output of a call, and register hooks for its gradients.

        Args:
            index: The module's index.
            module: The called module.
            args: Its positional arguments.
            output: Its output.
        """
        if index not in self._pass.order:
            self._pass.order.append(index)
        self._pass.last = None
        if not self._recording or not self._pass.begun[index]:
            return
        call, input_gradient = self._pass.begun[index].pop()
        tensors = [t for t in tensors_of(output) if has_dense_gradient(t)]
        if not tensors:
            return
        call.numbers |= _moments("preact", tensors[0])
        call.output = weakref.ref(tensors[0])
        for tensor in tensors:
            tensor.register_hook(partial(self._receive, call, "delta"))
        if input_gradient is not None:
            input_gradient.register(tensors, partial(self._receive, call, "back"))
        self._pass.last = call

    @catch_failures
    def _before_activation(self, module: nn.Module, args: Sequence[Any], kwargs: Any) -> None:
        """Record the input of an activation for the module that was called last.

        Args:
            module: The activation.
            args: Its positional arguments.
            kwargs: Not used.
        """
        call, self._pass.last = self._pass.last, None
        if self.in_backward:  # a recomputed checkpoint; its module was called in the forward pass
            call = self._recomputed.pop(id(module), call)
        if call is None or not self.on or not args:
            return
        if not torch.is_grad_enabled():
            self._recomputed[id(module)] = call
        if not torch.is_grad_enabled() or not has_dense_gradient(args[0]):
            return
        self._pass.activating[id(module)] = call
        self.phi[call.index] = module
        u, watched = args[0], self.modules[call.index]
        if call.output() is not u:  # another module is between, as a normalisation
            call.numbers |= _moments("preact", u)
            u.register_hook(partial(self._receive, call, "preact_grad"))
        if u.is_floating_point():
            saturated, call.alive_U = self._intervals.count(module, u.detach(), watched.channels)
            call.numbers["saturated"] = saturated

    @catch_failures
    def _after_activation(self, module: nn.Module, args: Any, output: Any) -> None:
        """Record the output of an activation for the module before it.

        Args:
            module: The activation.
            args: Not used.
            output: Its output.
        """
        call = self._pass.activating.pop(id(module), None)
        if call is not None and has_dense_gradient(output):
            call.numbers |= _moments("act", output)
            output.register_hook(partial(self._receive, call, "act_grad"))

    @catch_failures
    def _forget_last_call(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """End the search for an activation after the module that was called last.

        Args:
            module: Another module.
            args: Not used.
            kwargs: Not used.
        """
        self._pass.last = None

    @catch_failures
    def _receive(self, call: Call, name: str, grad: Tensor) -> None:
        """Record the norm of a gradient. A call counts from its first output gradient on.

        Args:
            call: The call to which the gradient belongs.
            name: The column.
            grad: The gradient.
        """
        if not self.in_backward:
            return
        with torch.no_grad():
            grad_norm = norm_of(grad)
        if name in call.numbers:
            grad_norm = torch.hypot(grad_norm, torch.as_tensor(call.numbers[name]))
        elif name == "delta":
            self._calls.append(call)
        call.numbers[name] = grad_norm


def _moments(part: str, x: Tensor) -> dict[str, Tensor | float]:
    """Return number of entries, mean and standard deviation; nothing for a complex tensor."""
    if x.is_complex():
        return {}
    with torch.no_grad():
        mean, std = mean_std(x)
    return {f"{part}_count": float(x.numel()), f"{part}_mean": mean, f"{part}_std": std}
