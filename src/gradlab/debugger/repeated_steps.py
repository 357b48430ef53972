"""`gradlab.replay`: repeat the stored steps of a training, up to the fault."""

import math
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
from torch.overrides import TorchFunctionMode

from gradlab.black_box.black_box_folder import ReadRecording, joint_norm, read_recording
from gradlab.black_box.step_memory import (
    Snapshot,
    StoredCall,
    StoredStep,
    function_name,
    has_inputs,
)
from gradlab.black_box.tensor_tree import COMPUTED
from gradlab.debugger.trainings import TrainingStep, list_batches
from gradlab.errors import ExaminationError, GradlabError, StoreError, first_line
from gradlab.nonfinite.explanations import shown_name
from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.guard import NonfiniteGuard
from gradlab.nonfinite.operations import Operation
from gradlab.nonfinite.recorded_calls import (
    CallRecorder,
    map_tensors,
    rng_states,
    set_rng_states,
    tensors_of,
)
from gradlab.nonfinite.replay import Replay
from gradlab.nonfinite.user_code import innermost
from gradlab.recording.eager_hooks import Hook
from gradlab.recording.patches import wrap

AROUND = 6, 3  # operations before and after the fault in the table
VIEWS = frozenset(
    {
        "detach", "view", "t", "transpose", "permute", "expand", "unsqueeze", "squeeze", "slice",
        "select", "as_strided", "alias", "reshape", "split", "unsafe_view", "empty", "empty_like",
    }
)  # fmt: skip
"""Operations that compute no numbers; the table leaves them out."""


@dataclass(frozen=True)
class Compared:
    """A number of the recorded training, and of its repetition.

    Attributes:
        step: Number of the step.
        name: "loss" or "gradient norm".
        recorded: The recorded number, a scalar.
        repeated: The repeated number.
    """

    step: int
    name: str
    recorded: Tensor
    repeated: Tensor

    @property
    def is_equal(self) -> bool:
        """Whether both have the same dtype and the same bits."""
        return self.recorded.dtype == self.repeated.dtype and bits(self.recorded) == bits(
            self.repeated
        )

    def __str__(self) -> str:
        here = f"step {self.step}: {self.name} {_shown(self.repeated)}"
        if self.is_equal:
            return f"{here}, equal to the recorded one"
        return f"{here}, but the recorded one is {_shown(self.recorded)}"


@dataclass(frozen=True)
class RepeatedSteps:
    """The result of `gradlab.replay`.

    Attributes:
        first: Number of the first repeated step.
        compared: The recorded losses and gradient norms with the repeated ones, in order.
        fault: The fault of the repetition; None if every number was finite.
        operations: The operations around the fault, in order.
        position: Index of the fault in `operations`; None if it is not among them.
        notes: Clauses about values that were not stored or that differ.
    """

    first: int
    compared: Sequence[Compared]
    fault: Fault | None = None
    operations: Sequence[Operation] = ()
    position: int | None = None
    notes: Sequence[str] = ()

    @property
    def is_exact(self) -> bool:
        """Whether every loss and every gradient norm has the recorded bits."""
        return all(each.is_equal for each in self.compared)

    def __str__(self) -> str:
        last = self.compared[-1].step if self.compared else self.first
        lines = [f"repeated the steps {self.first} to {last}"]
        different = [each for each in self.compared if not each.is_equal]
        if different:
            lines.append("the repetition is not exact; the first difference:")
            lines.append(f"  {different[0]}")
        elif self.compared:
            lines.append(f"{len(self.compared)} losses and gradient norms have the recorded bits")
        lines += [f"  {each}" for each in self.compared if each.step == last]
        lines += [f"note: {each}" for each in self.notes]
        if self.operations:
            lines += ["", *_table(self.operations, self.position), ""]
        if self.fault is None:
            return "\n".join([*lines, "every loss, gradient and weight is finite"])
        lines.append(f"step {self.fault.step}: {self.fault.sentence()}")
        lines += [f"  cause:  {self.fault.reason}"] if self.fault.reason else []
        lines += [f"  try:    {self.fault.remedy}"] if self.fault.remedy else []
        return "\n".join(lines)


def replay(folder: str | Path, function: Callable[[], Any]) -> RepeatedSteps:
    """Repeat the steps of a training that `gradlab.watch(..., black_box=folder)` has stored.

    The model gets the stored weights, buffers, optimiser state and random states. The step then
    runs until the fault, and its model calls and calls of torch functions receive the stored
    inputs. So the batch that the function returns may have any values; only its form counts.

    Args:
        folder: The folder of the black box. Nothing in it is executed.
        function: As for `gradlab doctor`: it takes no arguments, and returns
            (step, model, optimizer, batch). step(model, optimizer, batch) makes one update.

    Returns:
        The repeated losses and gradient norms, whether they have the recorded bits, the operations
        around the fault with the ranges of their tensors, and the fault.

    Raises:
        StoreError: The folder has no recording or a damaged one, or the model has other weights.
        ExaminationError: The function does not return a step, or the step makes other calls than
            the recorded training.

    Example:
        >>> import tempfile, torch, gradlab
        >>> folder = tempfile.mkdtemp() + "/black_box"
        >>> def make():
        ...     model = torch.nn.Linear(3, 1)
        ...     return step, model, torch.optim.SGD(model.parameters(), 0.1), torch.ones(4, 3)
        >>> def step(model, optimizer, x):
        ...     optimizer.zero_grad()
        ...     torch.sqrt(model(x) - model(x)).mean().backward()
        ...     optimizer.step()
        >>> _, model, optimizer, x = make()
        >>> with gradlab.watch(model, optimizer, black_box=folder):
        ...     step(model, optimizer, x)
        >>> repeated = gradlab.replay(folder, make)
        >>> repeated.is_exact, repeated.fault.operation, repeated.fault.step
        (True, 'sqrt', 0)
    """
    read = read_recording(folder)
    parts = function()
    return _repeat(read, *_parts_of(parts))


def _parts_of(returned: Any) -> tuple[TrainingStep, nn.Module, list[Optimizer], Any]:
    """Return step, model, optimisers and the first batch of what a function returned."""
    parts: Any = returned if isinstance(returned, tuple) else ()
    if len(parts) == 4 and callable(parts[0]) and isinstance(parts[1], nn.Module):
        step, model, optimizer, batch = parts
        return step, model, optimizer, list_batches(batch)[0]
    raise ExaminationError(
        "expected the function to return (step, model, optimizer, batch), given "
        f"{type(returned).__name__}: step(model, optimizer, batch) makes one update"
    )


def _repeat(
    read: ReadRecording, step: TrainingStep, model: nn.Module, optimizer: Any, batch: Any
) -> RepeatedSteps:
    """Restore the state before the first step, and repeat the steps."""
    recording = read.recording
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else [*optimizer]
    _check_complete(read)
    notes = [*_differences(read), *(f"not stored: {each}" for each in read.not_stored)]
    player = _Player(recording.steps, model, optimizers)
    replays: list[Replay] = []
    guard = NonfiniteGuard(
        lambda: dict(model.named_parameters()),
        lambda: {id(module): name or "model" for name, module in model.named_modules()},
        player.count,
        on_failure=_raise,
        on_replay=replays.append,
    )
    with _restored_generators(read.threads):
        _restore(recording.snapshot, model, optimizers)
        with player.observe(guard):
            while not player.is_finished and not guard.faults:
                before = player.position
                try:
                    step(model, optimizer, batch)
                except GradlabError:
                    raise
                except Exception as error:
                    if not guard.faults and not recording.error:
                        raise ExaminationError(
                            f"the step fails: {type(error).__name__}: {first_line(error)}"
                        ) from error
                    notes.append(f"the step raises {type(error).__name__}: {first_line(error)}")
                    break
                if player.position == before:
                    raise ExaminationError(
                        "expected the step to call the model, but it makes none of the recorded "
                        "calls; a compiled model cannot be repeated"
                    )
        guard.finish()
    operations, position = _around(replays[0]) if replays else ((), None)
    compared = player.compare(read.norms)
    notes += player.notes
    fault = guard.faults[0] if guard.faults else None
    return RepeatedSteps(recording.snapshot.step, compared, fault, operations, position, notes)


def _check_complete(read: ReadRecording) -> None:
    """Check that the parts without which no step can be repeated were written."""
    if read.left_out:
        raise StoreError(
            f"the black box lacks {'; '.join(read.left_out)}: record it with "
            "black_box=gradlab.BlackBox(folder, limit=...) and a larger limit"
        )
    if not any(step.calls for step in read.recording.steps):
        raise StoreError(
            "the black box has no call of the model; expected a model that is not compiled"
        )


def _differences(read: ReadRecording) -> list[str]:
    """Return a clause if torch has another version than at the recording."""
    recorded = read.versions.get("torch", "an unknown version")
    if recorded == torch.__version__:
        return []
    same = recorded.partition("+")[0] == torch.__version__.partition("+")[0]
    text = f"recorded with torch {recorded}, repeated with torch {torch.__version__}"
    return [] if same else [text]


@contextmanager
def _restored_generators(threads: int) -> Generator[None]:
    """Use the recorded number of threads, which decides the order of sums; restore it later."""
    before, states = torch.get_num_threads(), rng_states()
    if 0 < threads <= 1024:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_rng_states(states)


def _restore(snapshot: Snapshot, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Restore weights, buffers, attributes, optimiser states and random states.

    Raises:
        StoreError: The model or an optimiser has another form.
    """
    named = dict([*model.named_parameters(), *model.named_buffers()])
    if named.keys() != snapshot.weights.keys():
        other = min(named.keys() ^ snapshot.weights.keys())
        where = "black box" if other in snapshot.weights else "model of the function"
        raise StoreError(f"expected the recorded model, but only the {where} has `{other}`")
    with torch.no_grad():
        for name, x in named.items():
            stored = snapshot.weights[name]
            if x.shape != stored.shape or x.dtype != stored.dtype:
                raise StoreError(
                    f"expected `{name}` to be {stored.dtype} {list(stored.shape)}, as recorded, "
                    f"but the model has {x.dtype} {list(x.shape)}"
                )
            x.copy_(stored)
    for name, module in model.named_modules():
        for key, value in snapshot.attributes.get(name, {}).items():
            if type(vars(module).get(key)) is type(value):
                setattr(module, key, value)
    try:
        for optimizer, state in zip(optimizers, snapshot.optimizers, strict=False):
            optimizer.load_state_dict(state)
        set_rng_states(snapshot.rng)
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:
        raise StoreError(f"the stored state does not fit: {first_line(error)}") from error


@dataclass
class _Results:
    """The losses and gradient norms of a repeated step."""

    losses: list[Tensor] = field(default_factory=list[Tensor])
    norms: Tensor | None = None


class _Player(TorchFunctionMode):
    """Gives the stored inputs to the outermost calls of a repeated step, in their order.

    Args:
        steps: The recorded steps.
        model: The model.
        optimizers: Its optimisers.

    Attributes:
        position: Number of repeated calls.
        notes: Clauses about numbers that differ.
    """

    # attributes: the calls of the training, and the state of their repetition

    def __init__(
        self, steps: Sequence[StoredStep], model: nn.Module, optimizers: Sequence[Optimizer]
    ) -> None:
        super().__init__()
        self._calls = [(step, call) for step in steps for call in step.calls]
        self._names = {id(module): name for name, module in model.named_modules()}
        self._model, self._optimizers = model, optimizers
        self._results = {step.step: _Results() for step in steps}
        self._steps, self.position, self._updated = {s.step: s for s in steps}, 0, False
        self.notes: list[str] = []
        self._recorder = CallRecorder()

    @property
    def is_finished(self) -> bool:
        """Whether every recorded call was repeated."""
        return self.position == len(self._calls)

    def count(self) -> int:
        """Return the number of optimiser steps so far, from the begin of the training."""
        return self._current().step + self._updated

    def _current(self) -> StoredStep:
        return self._calls[max(self.position - 1, 0)][0]

    @contextmanager
    def observe(self, guard: NonfiniteGuard) -> Generator[None]:
        """Give the stored inputs to the calls until the context closes."""
        self._recorder = guard.recorder

        def backward(original: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any) -> Any:
            with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                roots = [root.detach() for root in tensors_of(tensors)]
            self._results[self._current().step].losses += [r for r in roots if r.numel() == 1]
            return original(tensors, *args, **kwargs)

        def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            self._results[self._current().step].norms = guard.norms
            self._set_settings(optimizer)

        def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            self._updated = True

        with ExitStack() as stack:
            stack.enter_context(guard.observe(self._model.modules()))
            stack.enter_context(wrap(torch.autograd, "backward", backward))
            stack.callback(register_optimizer_step_pre_hook(before).remove)
            stack.callback(register_optimizer_step_post_hook(after).remove)
            hook = Hook(self._before_module)
            for module in self._model.modules():
                handle = module.register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
                stack.callback(handle.remove)
            stack.enter_context(self)
            yield

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, with the stored inputs if it is an outermost call."""
        kwargs = kwargs or {}
        if self._recorder.records(func, args, kwargs) and has_inputs(func, (args, kwargs)):
            args, kwargs = self._substitute(function_name(func), args, kwargs)
        return func(*args, **kwargs)

    def _before_module(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Return the stored inputs of a module, if this is an outermost call."""
        if not self._recorder.records_modules():
            return None
        return self._substitute(self._names.get(id(module), ""), args, kwargs)

    def _substitute(self, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the stored inputs of the next call, and set its random states.

        Raises:
            ExaminationError: The recorded training made another call.
        """
        if self.is_finished:  # for example the begin of the next step
            return args, kwargs
        step, call = self._calls[self.position]
        if call.name != name or len(call.args) != len(args):
            number = step.calls.index(call) + 1
            raise ExaminationError(
                f"expected call {number} of step {step.step} to be `{call.name or 'the model'}` "
                f"with {len(call.args)} arguments, as recorded, but the step calls "
                f"`{name or 'the model'}` with {len(args)}"
            )
        self.position += 1
        self._updated = False
        if call.rng is not None:
            _set_states(call)
        new = tuple(map(self._value, args, call.args))
        return new, {key: self._value(x, call.kwargs.get(key, x)) for key, x in kwargs.items()}

    def _value(self, actual: Any, stored: Any) -> Any:
        """Return a stored input in place of the actual one; a value that was not stored stays."""
        if stored is COMPUTED:
            return actual
        if isinstance(stored, Tensor):
            if not isinstance(actual, Tensor):
                return stored
            moved = stored.to(actual.device)
            return moved.requires_grad_() if actual.requires_grad and actual.is_leaf else moved
        if type(stored) in (list, tuple) and isinstance(actual, list | tuple):
            if len(stored) == len(actual):
                return type(stored)(map(self._value, actual, stored))
            return actual if _has_computed(stored) else stored
        if type(stored) is dict and isinstance(actual, dict):
            return {key: self._value(x, stored.get(key, x)) for key, x in actual.items()}
        if isinstance(stored, bool | int | float) and actual != stored:
            self._note(f"a call receives the recorded number {stored!r}, not {actual!r:.40}")
            return stored
        return actual

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 5:
            self.notes.append(text)

    def _set_settings(self, optimizer: Optimizer) -> None:
        """Set the recorded learning rate and other settings of an optimiser."""
        index = next((i for i, each in enumerate(self._optimizers) if each is optimizer), -1)
        recorded = self._current().settings.get(index, [])
        for group, settings in zip(optimizer.param_groups, recorded, strict=False):
            for key, value in settings.items():
                if type(group.get(key)) is type(value):
                    group[key] = value
                elif isinstance(group.get(key), Tensor):
                    group[key].fill_(value)

    def compare(self, norms: dict[int, Tensor | None]) -> list[Compared]:
        """Return the losses and gradient norms that were recorded and repeated, in order.

        Args:
            norms: The recorded norms.
        """
        out: list[Compared] = []
        for number, step in self._steps.items():
            found = self._results[number]
            pairs = zip(step.losses, found.losses, strict=False)
            out += [Compared(number, "loss", a, b.cpu()) for a, b in pairs]
            norm = norms.get(number)
            if isinstance(norm, Tensor) and found.norms is not None:
                repeated = joint_norm(found.norms).cpu()
                out.append(Compared(number, "gradient norm", norm, repeated))
        return out


def _set_states(call: StoredCall) -> None:
    try:
        set_rng_states(call.rng or {})
    except (ValueError, TypeError, RuntimeError) as error:
        raise StoreError(f"a random state is damaged: {first_line(error)}") from error


def _has_computed(stored: Any) -> bool:
    found: list[Any] = []
    map_tensors(found.append, stored, type(COMPUTED))
    return bool(found)


def _around(result: Replay) -> tuple[list[Operation], int | None]:
    """Return the operations around the fault, and the index of the fault among them."""
    origin = result.origin
    if origin is None:
        return [], None
    numbered = [
        (number, each)
        for number, each in enumerate(result.operations, 1)
        if each is not None and (each.name not in VIEWS or number == origin.order)
    ]
    index = next((i for i, (n, _) in enumerate(numbered) if n >= origin.order), len(numbered))
    first = max(index - AROUND[0], 0)
    shown = [each for _, each in numbered[first : index + AROUND[1] + 1]]
    found = origin.operation is not None and index < len(numbered)
    return shown, index - first if found else None


def _table(operations: Sequence[Operation], position: int | None) -> list[str]:
    """Return the lines of a table of operations; the fault has a mark."""
    rows = [("", "operation", "module", "line", "inputs", "output")]
    for index, each in enumerate(operations):
        line = innermost(each.places)
        rows.append(
            (
                ">" if index == position else "",
                shown_name(each) + (" (backward)" if each.backward else ""),
                each.module or "",
                "" if line is None else str(line),
                "; ".join(map(str, each.inputs)),
                "" if each.output is None else str(each.output),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def bits(x: Tensor) -> str:
    """Return the bytes of a scalar as a hexadecimal number, the highest first."""
    return x.detach().reshape(1).contiguous().view(torch.uint8).flip(0).numpy().tobytes().hex()


def _shown(x: Tensor) -> str:
    value = float(x)
    text = f"{value:.9g}" if math.isfinite(value) else str(value)
    return f"{text} (bits {bits(x)})"


def _raise(error: Exception) -> None:
    raise error
