"""Record the outermost calls of a forward pass in autograd's graph, so that they can be repeated.

An outermost call is a call of a function of torch, or of a module, by code outside of modules. A
call with a gradient is stored in the metadata of the graph's nodes that it created. It lives as
long as the graph: nothing must be discarded, and a forward pass without a backward pass leaves
nothing. Arguments are aliases without a graph, so no cycle of references keeps a graph alive.
"""

import random
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack
from torch.nn.modules import module as module_hooks
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,  # pyright: ignore
    _pop_mode,  # pyright: ignore
    _push_mode,  # pyright: ignore
)

from gradlab.nonfinite.user_code import Place, running_places
from gradlab.recording.eager_hooks import Hook

KEY = "gradlab.call"  # in the metadata of a node
PLAIN = {Tensor, nn.Parameter, nn.Buffer}
WRAPPERS = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")
"""Modules whose call cannot be repeated; their inner module can."""
RANDOM = ("drop", "rand", "rrelu", "bernoulli", "normal", "gumbel", "attention", "fractional")
"""Parts of the names of functions that draw random numbers."""
VALUES = frozenset({bool, int, float, str, type(None)})
"""Classes of attributes that a module may change in its call, as a counter or a mode."""
DEVICES = ("cpu", "cuda", "mps", "xpu")


@dataclass(slots=True, eq=False)
class Argument:
    """A tensor that a call received.

    Attributes:
        value: An alias of the tensor without a graph; a parameter itself.
        version: Its version counter at the call; a change in place increases it.
        source: The call that computed it, and the index of the result; None for others.
        requires_grad: Whether it required a gradient.
    """

    value: Tensor
    version: int
    source: "tuple[RecordedCall, int] | None"
    requires_grad: bool

    @property
    def is_unchanged(self) -> bool:
        """Whether the tensor has the values that the call received."""
        return self.value._version == self.version


@dataclass(slots=True, eq=False)
class RecordedCall:
    """An outermost call.

    Attributes:
        number: Calls are numbered in the order of their begin.
        function: The function of torch, or the module.
        args: Its positional arguments, with an `Argument` in place of each tensor.
        kwargs: Its keyword arguments, in the same way.
        places: The running lines of the user's code, the innermost first.
        rng: States of the random generators at the begin; None if it draws no numbers.
        autocast: The dtype of autocast, by type of device where it is on.
        state: For a module: it and its parts, each with its attributes that are plain values.
    """

    # attributes: a plain record of a call

    number: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[Place, ...]
    rng: dict[str, Any] | None
    autocast: dict[str, torch.dtype]
    state: list[tuple[nn.Module, dict[str, Any]]]

    def arguments(self) -> Iterator[Argument]:
        """Yield the tensors among the arguments."""
        found: list[Argument] = []
        map_tensors(found.append, (self.args, self.kwargs), Argument)
        yield from found


def map_tensors(function: Callable[[Any], Any], x: Any, kind: type = Tensor) -> Any:
    """Apply a function to the tensors in tuples, lists and dictionaries; copy only these.

    Args:
        function: The function.
        x: Arguments of a call.
        kind: The class of the values to which the function is applied.

    Returns:
        The arguments with the results in place of the tensors. Other containers are unchanged.
    """
    if isinstance(x, kind):
        return function(x)
    if type(x) in (tuple, list):
        return type(x)(map_tensors(function, each, kind) for each in x)
    if type(x) is dict:
        return {key: map_tensors(function, each, kind) for key, each in x.items()}
    return x


def tensors_of(output: Any) -> Iterator[Tensor]:
    """Yield every tensor in an output, also in tuples, lists, mappings and dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors_of(list(output.values()))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from tensors_of(part)
    elif is_dataclass(output):
        yield from tensors_of([getattr(output, each.name) for each in fields(output)])


def call_of(x: Tensor) -> tuple[RecordedCall, int] | None:
    """Return the call that computed a tensor, and the index of the tensor among its results."""
    if x.grad_fn is None:
        return None
    found = _metadata(x.grad_fn).get(KEY)
    return None if found is None else (found[0], found[1].get(x.output_nr, 0))


def _metadata(node: Any) -> dict[str, Any]:
    return node.metadata


def calls_of(roots: Sequence[Tensor]) -> list[RecordedCall]:
    """Return all recorded calls from which some tensors were computed, in order."""
    waiting = [found[0] for root in roots if (found := call_of(root)) is not None]
    seen: dict[int, RecordedCall] = {}
    while waiting:
        call = waiting.pop()
        if call.number not in seen:
            seen[call.number] = call
            waiting += [each.source[0] for each in call.arguments() if each.source is not None]
    return [seen[number] for number in sorted(seen)]


def rng_states() -> dict[str, Any]:
    """Return the states of the random generators: by device, and of "numpy" and "python"."""
    states: dict[str, Any] = {"numpy": np.random.get_state(), "python": random.getstate()}
    states["cpu"] = torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            states[f"cuda:{index}"] = torch.cuda.get_rng_state(index)
    return states


def set_rng_states(states: Mapping[str, Any]) -> None:
    """Set the states of the random generators that `rng_states` has returned."""
    for device, state in states.items():
        if device == "numpy":
            np.random.set_state(state)
        elif device == "python":
            random.setstate(state)
        elif device == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, device)


class CallRecorder(TorchFunctionMode):
    """Records the outermost calls in the thread that opens `observe`.

    Attributes:
        paused: Whether calls are not recorded.
        roots: The modules whose calls were outermost calls.
        listener: Receives each call after its end; the results of a module that raised an
            exception are missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.listener: Callable[[RecordedCall], None] = lambda _: None
        self._numbers = count()
        self.roots = weakref.WeakSet[nn.Module]()
        self._thread = 0
        self._parts = weakref.WeakKeyDictionary[nn.Module, list[weakref.ref[nn.Module]]]()
        self._running: list[tuple[nn.Module, RecordedCall | None, bool]] = []

    @contextmanager
    def observe(self, modules: Iterable[nn.Module] | None = None) -> Generator[None]:
        """Record the calls until the context closes.

        Args:
            modules: The modules whose outermost calls are recorded; None for all modules. Hooks of
                single modules also work inside `torch.compile`.
        """
        self._thread = threading.get_ident()
        with ExitStack() as stack:
            for handle in self._hooks(modules):
                stack.callback(handle.remove)
            _insert(self)
            stack.callback(_remove, self)
            yield

    def _hooks(self, modules: Iterable[nn.Module] | None) -> Iterator[Any]:
        before, after = Hook(self._before_module), Hook(self._after_module)
        if modules is None:
            yield module_hooks.register_module_forward_pre_hook(before)
            handle = module_hooks.register_module_forward_hook(
                after, with_kwargs=True, always_call=True
            )
            # torch does not remove this entry with the hook.
            extra = module_hooks._global_forward_hooks_with_kwargs  # pyright: ignore
            handle.extra_dict_ref = (*handle.extra_dict_ref, weakref.ref(extra))
            yield handle
            return
        for module in modules:
            if not isinstance(module, torch.jit.ScriptModule):
                yield module.register_forward_pre_hook(before, prepend=True)
                yield module.register_forward_hook(after, with_kwargs=True, always_call=True)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, and record the call if its results have a gradient."""
        kwargs = kwargs or {}
        if not self.records(func, args, kwargs):
            return func(*args, **kwargs)
        draws = any(part in getattr(func, "__name__", "") for part in RANDOM)
        call = self._call(func, args, kwargs, rng_states() if draws else None)
        out = func(*args, **kwargs)
        _store(call, args[0] if out is None and args else out)
        self.listener(call)
        return out

    def records(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Return whether the call of a function of torch is recorded."""
        # The compiler and the tracer trace this method.
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore
            return False
        if self.paused or self._running or not _has_gradient(args, kwargs):
            return False
        return getattr(func, "__name__", "") != "backward" and not peek_interpreter_stack()

    def records_modules(self) -> bool:
        """Return whether the call of a module that begins now is an outermost call."""
        here = threading.get_ident() == self._thread
        return here and not self.paused and not self._running and torch.is_grad_enabled()

    def _call(
        self, function: Any, args: Any, kwargs: Any, rng: dict[str, Any] | None
    ) -> RecordedCall:
        frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
        return RecordedCall(
            next(self._numbers),
            function,
            map_tensors(_argument, tuple(args)),
            map_tensors(_argument, kwargs),
            running_places(frame),
            rng,
            {d: torch.get_autocast_dtype(d) for d in DEVICES if torch.is_autocast_enabled(d)},
            self._state(function) if isinstance(function, nn.Module) else [],
        )

    def _state(self, module: nn.Module) -> list[tuple[nn.Module, dict[str, Any]]]:
        """Return a module and its parts, each with its attributes that are plain values."""
        if module not in self._parts:
            self._parts[module] = [weakref.ref(part) for part in module.modules()]
        parts = [part for ref in self._parts[module] if (part := ref()) is not None]
        return [
            (part, {key: v for key, v in vars(part).items() if type(v) in VALUES}) for part in parts
        ]

    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Begin a call of a module; the outermost is recorded."""
        if threading.get_ident() != self._thread:
            return
        if self.paused or type(module).__name__ in WRAPPERS:
            return
        if self._running:
            self._running.append((module, None, False))
            return
        self.roots.add(module)
        call = self._call(module, args, {}, rng_states()) if torch.is_grad_enabled() else None
        self._running.append((module, call, _remove(self, only_top=True)))

    def _after_module(self, module: nn.Module, args: tuple[Any, ...], *kwargs_out: Any) -> None:
        """End a call of a module.

        Args:
            module: The module.
            args: Its positional arguments.
            kwargs_out: Its keyword arguments, and its results; after an exception, only None.
        """
        if threading.get_ident() != self._thread:
            return
        if not any(module is each for each, _, _ in self._running):
            return
        while self._running:
            begun, call, removed = self._running.pop()
            if removed:
                _insert(self)
            if begun is module:
                break
        else:
            return
        if call is not None and not self.paused and len(kwargs_out) > 1:
            kwargs, out = kwargs_out
            call.kwargs = map_tensors(_argument, kwargs)
            _store(call, out)
            self.listener(call)


def _has_gradient(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether an argument, or an entry of a list among them, requires a gradient."""
    if not torch.is_grad_enabled():
        return False
    for each in (*args, *kwargs.values()):
        if isinstance(each, Tensor):
            if each.requires_grad:
                return type(each) in PLAIN
        elif isinstance(each, list | tuple) and _has_gradient(each, {}):
            return True
    return False


def _argument(x: Any) -> Any:
    """Return an `Argument` for a tensor; other values unchanged."""
    if type(x) not in PLAIN:
        return x
    is_leaf = x.is_leaf and x.requires_grad
    value = x if is_leaf else x.detach()
    return Argument(value, x._version, None if is_leaf else call_of(x), x.requires_grad)


def _store(call: RecordedCall, out: Any) -> None:
    """Store a call in the nodes that computed its results, unless an earlier call did."""
    for index, x in enumerate(tensors_of(out)):
        if x.grad_fn is None:
            continue
        metadata = _metadata(x.grad_fn)
        stored = metadata.setdefault(KEY, (call, {}))
        if stored[0] is call:
            stored[1].setdefault(x.output_nr, index)


def _insert(mode: TorchFunctionMode) -> None:
    """Push a mode below all others: a context of the user then removes its mode, not this one."""
    others = [_pop_mode() for _ in _get_current_function_mode_stack()]
    for each in (mode, *reversed(others)):
        _push_mode(each)


def _remove(mode: TorchFunctionMode, only_top: bool = False) -> bool:
    """Remove a mode from the stack.

    Args:
        mode: The mode.
        only_top: Whether to leave it there if it is not the only mode.

    Returns:
        Whether it was removed.
    """
    stack = _get_current_function_mode_stack()
    if not any(each is mode for each in stack) or (only_top and len(stack) > 1):
        return False
    others = [_pop_mode() for _ in stack]
    for each in reversed(others):
        if each is not mode:
            _push_mode(each)
    return True
