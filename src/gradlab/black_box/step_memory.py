"""Store the last steps in memory: inputs, random states, losses; and the weights before them.

Inputs are stored by reference. If a training loop changes a stored input in place, as a loop with
one buffer for all batches does, the version counter of the tensor shows it. From then on, inputs
are copied.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._pytree import tree_leaves

from gradlab.black_box.tensor_tree import COMPUTED, StoredTensor
from gradlab.errors import GradlabError, WatchError, first_line
from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.guard import NonfiniteGuard
from gradlab.nonfinite.recorded_calls import (
    RANDOM,
    Argument,
    RecordedCall,
    map_tensors,
    rng_states,
    tensors_of,
)
from gradlab.nonfinite.tensor_range import all_finite
from gradlab.recording.patches import wrap

ATTRIBUTES = ("__get__", "__set__", "__delete__")
"""Names of the functions that read and write attributes of tensors, such as `.grad`."""
PLAIN = (bool, int, float)
"""Classes of the attributes of modules that are stored, as `training`."""
LONGEST = 4  # windows of `every` steps that are stored at most


@dataclass(frozen=True)
class BlackBox:
    """Where and how `gradlab.watch` stores the last steps.

    Attributes:
        folder: A new folder, or the folder of an earlier black box.
        every: Number of steps between two copies of weights, buffers and optimiser state, which
            stay on their device. The inputs of the steps since the last copy stay in memory.
        limit: The most bytes of tensors that are written.

    Example:
        >>> import gradlab
        >>> gradlab.BlackBox("black_box", every=50).limit
        1073741824
    """

    folder: str | Path
    every: int = 20
    limit: int = 2**30

    def __post_init__(self) -> None:
        for name in ("every", "limit"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise WatchError(
                    f"expected {name} of the black box to be a positive integer, given {value!r}"
                )


@dataclass(eq=False)
class StoredCall:
    """An outermost call of a step: of a module or of a function of torch.

    Attributes:
        name: Name of the module in the network, or of the function.
        args: Its arguments, with `StoredTensor` or `COMPUTED` in place of tensors.
        kwargs: Its keyword arguments, in the same way.
        rng: States of the random generators at its begin; None if it draws no numbers.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rng: dict[str, Any] | None


@dataclass(eq=False)
class StoredStep:
    """A step.

    Attributes:
        step: Its number.
        calls: The outermost calls.
        losses: The loss of each backward pass.
        norms: The norms of the gradients before the update.
        settings: Of each parameter group, by index of the optimiser.
    """

    step: int
    calls: list[StoredCall] = field(default_factory=list[StoredCall])
    losses: list[Tensor] = field(default_factory=list[Tensor])
    norms: Tensor | None = None
    settings: dict[int, list[dict[str, Any]]] = field(
        default_factory=dict[int, list[dict[str, Any]]]
    )


@dataclass(frozen=True)
class Snapshot:
    """The state of a training before a step.

    Attributes:
        step: The number of the step.
        weights: Parameters and buffers, by name.
        attributes: Attributes that are numbers, by name of the module.
        optimizers: The state of each optimiser.
        rng: States of the random generators.
    """

    step: int
    weights: dict[str, Tensor]
    attributes: dict[str, dict[str, Any]]
    optimizers: list[dict[str, Any]]
    rng: dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """The stored steps, for the file.

    Attributes:
        snapshot: The state before the first step.
        steps: The steps; the fault is in the last.
        fault: The fault; None if none was found.
        error: The exception that ended the training, in one line.
    """

    snapshot: Snapshot
    steps: Sequence[StoredStep]
    fault: Fault | None
    error: str | None


class StepMemory:
    """Stores the last steps of a watched training, and passes them on after a fault.

    Args:
        every: Steps between two copies of the weights.
        network: The network.
        guard: Finds faults; its recorder records the calls.
        step: Returns the number of steps so far.
        includes: Returns whether an optimiser updates the network.
        is_skipped: Returns whether a GradScaler has skipped a step.
        write: Writes a recording.
        note: Receives a line if it cannot be written.
    """

    # attributes: the callbacks of its owner, and the stored steps

    def __init__(
        self,
        every: int,
        network: nn.Module,
        guard: NonfiniteGuard,
        step: Callable[[], int],
        includes: Callable[[Optimizer], bool],
        is_skipped: Callable[[int], bool],
        write: Callable[[Recording], None],
        note: Callable[[str], None],
    ) -> None:
        self._every, self._network, self._guard, self._step = every, network, guard, step
        self._includes, self._is_skipped = includes, is_skipped
        self._write, self._note = write, note
        self._optimizers: list[Optimizer] = []
        self._snapshot: Snapshot | None = None
        self._steps: list[StoredStep] = []
        self._copies = self._ended = False

    @contextmanager
    def observe(self, optimizers: Sequence[Optimizer] = ()) -> Generator[None]:
        """Store the steps until the context closes.

        Args:
            optimizers: The known optimisers.
        """
        self._optimizers = [*optimizers]
        self._parameters = {id(p) for p in self._network.parameters()}
        self._names = {id(m): name for name, m in self._network.named_modules()}
        self._take_snapshot()
        recorder = self._guard.recorder
        before, recorder.listener = recorder.listener, self._add_call
        with ExitStack() as stack:
            stack.callback(setattr, recorder, "listener", before)
            stack.enter_context(wrap(torch.autograd, "backward", self._backward))
            stack.callback(register_optimizer_step_pre_hook(self._before_update).remove)
            stack.callback(register_optimizer_step_post_hook(self._after_update).remove)
            yield

    def finish(self, error: str | None) -> None:
        """Write the steps if a fault was found or the training failed, unless they are written.

        Args:
            error: The exception that ended the training, in one line.
        """
        fault = self._fault()
        if not self._ended and (fault is not None or error is not None):
            self._end(fault, error)

    def _add_call(self, call: RecordedCall) -> None:
        """Store a call."""
        if self._ended:
            return
        if not has_inputs(call.function, (call.args, call.kwargs)) or self._current() is None:
            return
        name = self._names.get(id(call.function)) if isinstance(call.function, nn.Module) else None
        if name is None:
            name = function_name(call.function)
        with torch._C.DisableTorchFunction():  # pyright: ignore
            args, kwargs = map_tensors(self._stored, (call.args, call.kwargs), Argument)
        self._steps[-1].calls.append(StoredCall(name, args, kwargs, call.rng))

    def _stored(self, x: Argument) -> Any:
        if x.source is not None or isinstance(x.value, nn.Parameter):
            return COMPUTED
        if not x.is_unchanged:  # the call changed its input
            return StoredTensor(x.value, x.version)
        value = x.value.clone() if self._copies else x.value
        return StoredTensor(value, value._version)

    def _current(self) -> StoredStep | None:
        """Return the current step; None if too many steps are stored."""
        step = self._step()
        if not self._steps or self._steps[-1].step != step:
            if len(self._steps) >= LONGEST * self._every:
                return None
            self._steps.append(StoredStep(step))
        return self._steps[-1]

    def _backward(
        self, original: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Store the loss of a backward pass."""
        if not self._ended and (current := self._current()) is not None:
            with torch._C.DisableTorchFunction():  # pyright: ignore
                roots = [root.detach() for root in tensors_of(tensors)]
            current.losses += [root for root in roots if root.numel() == 1]
        return original(tensors, *args, **kwargs)

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Write the steps if a fault was found; store the settings of an optimiser."""
        if self._ended or not self._includes(optimizer):
            return
        if not any(optimizer is each for each in self._optimizers):
            self._optimizers.append(optimizer)
        current = self._current()
        if current is None:
            return
        index = next(i for i, each in enumerate(self._optimizers) if each is optimizer)
        current.norms = self._guard.norms
        current.settings[index] = [_settings_of(group) for group in optimizer.param_groups]
        if (fault := self._fault()) is not None:
            self._end(fault, None)

    @torch.no_grad()
    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Take a snapshot when it is due, or when a stored input has changed in place."""
        if self._ended or self._snapshot is None or self._step() == self._snapshot.step:
            return
        if not self._copies and any(map(_has_changed, self._steps[-2:])):
            self._copies = True
        elif self._step() - self._snapshot.step < self._every:
            return
        if all(all_finite(p) for p in self._network.parameters()):
            self._take_snapshot()

    @torch.no_grad()
    def _take_snapshot(self) -> None:
        network = self._network
        named = [*network.named_parameters(), *network.named_buffers()]
        self._snapshot = Snapshot(
            self._step(),
            {name: x.detach().clone() for name, x in named},
            {name: _plain_attributes(module) for name, module in network.named_modules()},
            [map_tensors(_copy, each.state_dict()) for each in self._optimizers],
            rng_states(),
        )
        self._steps = []

    def _fault(self) -> Fault | None:
        """Return the first fault of a step that no GradScaler has skipped."""
        found = (each for each in self._guard.faults if not self._is_skipped(each.step))
        return next(found, None)

    def _end(self, fault: Fault | None, error: str | None) -> None:
        """Write the steps, and free the memory."""
        self._ended = True
        assert self._snapshot is not None
        try:
            self._write(Recording(self._snapshot, self._steps, fault, error))
        except (GradlabError, OSError) as problem:
            self._note(f"the black box was not written: {first_line(problem)}")
        self._snapshot, self._steps = None, []


def has_inputs(function: Any, arguments: Any) -> bool:
    """Return whether a call has inputs to store: every module, or a function of data or chance.

    Other calls compute a result from results alone, or read a result, as `loss.item()` does. A
    program may leave them out.

    Args:
        function: A module or a function of torch.
        arguments: The arguments, or what `CallRecorder` recorded for them.
    """
    if isinstance(function, nn.Module):
        return True
    name = function_name(function)
    if name in ATTRIBUTES:
        return False
    if any(part in name for part in RANDOM):
        return True
    leaves = tree_leaves(arguments)
    return any(
        not each.requires_grad if isinstance(each, Tensor | Argument) else type(each) in PLAIN
        for each in leaves
    )


def function_name(function: Any) -> str:
    """Return the name of a function of torch, or the class of a module."""
    return getattr(function, "__name__", type(function).__name__)


def _copy(x: Tensor) -> Tensor:
    return x.detach().clone()


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    return {
        key: value
        for key, value in vars(module).items()
        if type(value) in PLAIN and not key.startswith("_")
    }


def _settings_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a parameter group, such as the learning rate."""
    return {
        key: value.item() if isinstance(value, Tensor) else value
        for key, value in group.items()
        if key != "params" and isinstance(value, bool | int | float | tuple | Tensor)
    }


def _has_changed(step: StoredStep) -> bool:
    """Return whether an input of a step has changed in place."""
    found: list[StoredTensor] = []
    for call in step.calls:
        map_tensors(found.append, (call.args, call.kwargs), StoredTensor)
    return not all(each.is_unchanged for each in found)
