"""Trainings that the doctor can run repeatedly: a script, or a step function with batches."""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import OptimizerStep, TrainingError
from gradlab.debugger.observe.module_calls import Intervention
from gradlab.debugger.observe.number_checks import NumberChecks
from gradlab.debugger.observe.observer import StopTraining, TrainingObserver
from gradlab.debugger.observe.source_lines import line_of_error
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.rules.loss_inputs import find_logarithms_of_zero
from gradlab.debugger.sandbox.isolation import isolated
from gradlab.debugger.sandbox.snapshot import reachable_objects, restored
from gradlab.errors import ExaminationError, first_line

TrainingStep = Callable[[nn.Module, Optimizer, Any], Any]
FIRST_STEPS = 8  # observed updates of a script
MAX_CALLS = 8  # calls of a step function for each update: gradient accumulation needs several
MAX_BATCHES = 16


@dataclass(frozen=True)
class ExperimentResult:
    """The outcome of an experiment.

    Attributes:
        losses: the loss of each step.
        first_update: the norm of the first update; None if there was none, or the training failed.
        zero_logarithms: the findings about logarithms of 0.
    """

    losses: list[float]
    first_update: float | None = None
    zero_logarithms: list[CodeFinding] = field(default_factory=list[CodeFinding])

    @classmethod
    def of(cls, trace: Trace) -> "ExperimentResult":
        """Return the outcome of an observed training."""
        updates = [] if trace.error else trace.all(OptimizerStep)
        first = next((each.distance for each in updates), None)
        return cls(trace.losses, first, find_logarithms_of_zero(trace))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "ExperimentResult":
        """Return an outcome from the result of `dataclasses.asdict`."""
        found = [CodeFinding(**each) for each in content["zero_logarithms"]]
        return cls(content["losses"], content["first_update"], found)


class ExperimentError(Exception):
    """A training cannot run again; this is not an error of the training that was observed."""


class Experiments(Protocol):
    """Runs a training again, with one change."""

    @property
    def samples(self) -> int:
        """The number of samples in a batch; 0 if it is unknown."""
        ...

    @property
    def has_several_batches(self) -> bool:
        """Whether the training can run on one batch and on several batches."""
        ...

    def run(
        self, steps: int, intervention: Intervention | None = None, *, one_batch: bool = False
    ) -> ExperimentResult:
        """Train for a number of optimiser steps and return the outcome.

        Args:
            steps: the number of steps.
            intervention: the change.
            one_batch: whether to train on one batch only.

        Returns:
            The outcome.

        Raises:
            ExperimentError: the training cannot run again.
        """
        ...

    def check_numbers(self) -> list[CodeFinding]:
        """Train for more steps, and return the finding of the first inf or NaN."""
        ...

    def run_repeated(self, times: int) -> ExperimentResult | None:
        """Make one step on a batch in which each sample occurs several times, if possible."""
        ...


class Training(Protocol):
    """A training that can run repeatedly from the same state."""

    @property
    def samples(self) -> int:
        """The number of samples in a batch; 0 if it is unknown."""
        ...

    @property
    def has_several_batches(self) -> bool:
        """Whether the training can run on one batch and on several batches."""
        ...

    def run(
        self, steps: int, intervention: Intervention | None = None, *, one_batch: bool = False
    ) -> Trace:
        """Train for a number of optimiser steps and return the trace.

        Args:
            steps: the number of steps.
            intervention: the change of an experiment.
            one_batch: whether to train on one batch only.

        Returns:
            The trace.
        """
        ...

    def check_numbers(self) -> list[CodeFinding]:
        """Train for more steps, and return the finding of the first inf or NaN."""
        ...

    def run_repeated(self, times: int) -> Trace | None:
        """Make one step on a batch in which each sample occurs several times, if possible."""
        ...


GUARDED_STEPS, GUARDED_SECONDS = 128, 20.0  # of a run that checks only the numbers


class LocalExperiments:
    """Runs a training again in this process, which restores its state afterwards."""

    def __init__(self, training: Training) -> None:
        self.training = training

    @property
    def samples(self) -> int:
        """The number of samples in a batch; 0 if it is unknown."""
        return self.training.samples

    @property
    def has_several_batches(self) -> bool:
        """Whether the training can run on one batch and on several batches."""
        return self.training.has_several_batches

    def run(
        self, steps: int, intervention: Intervention | None = None, *, one_batch: bool = False
    ) -> ExperimentResult:
        """Train for a number of optimiser steps and return the outcome.

        Args:
            steps: the number of steps.
            intervention: the change.
            one_batch: whether to train on one batch only.

        Returns:
            The outcome.
        """
        return ExperimentResult.of(self.training.run(steps, intervention, one_batch=one_batch))

    def check_numbers(self) -> list[CodeFinding]:
        """Train for more steps, and return the finding of the first inf or NaN."""
        return self.training.check_numbers()

    def run_repeated(self, times: int) -> ExperimentResult | None:
        """Make one step on a batch in which each sample occurs several times, if possible."""
        trace = self.training.run_repeated(times)
        return None if trace is None else ExperimentResult.of(trace)


class ScriptTraining:
    """A function that trains; the doctor stops it after enough steps.

    Args:
        function: the function, without arguments.
        program: the first word of the command line; further words are removed.
    """

    def __init__(self, function: Callable[[], Any], program: str = "") -> None:
        self.program = program
        self.function, self.samples, self.has_several_batches = function, 0, False
        self.returned: Any = None

    def first_run(self) -> Trace:
        """Call the function, which trains or returns the parts of a training; return the trace."""
        return self.run(FIRST_STEPS)

    def run(
        self, steps: int, intervention: Intervention | None = None, *, one_batch: bool = False
    ) -> Trace:
        """Train for a number of optimiser steps and return the trace.

        Args:
            steps: the number of steps.
            intervention: the change of an experiment.
            one_batch: ignored, because a script chooses its batches.

        Returns:
            The trace.
        """
        with restored(self.function), isolated(self.program):
            observer = TrainingObserver(intervention=intervention, most=steps)
            with recorded_errors(observer), observer, suppress(StopTraining):
                self.returned = _run_to_end(self.function())
        return observer.trace

    def check_numbers(self) -> list[CodeFinding]:
        """Train for more steps, and return the finding of the first inf or NaN."""
        with restored(self.function), isolated(self.program):
            checks = NumberChecks((), GUARDED_STEPS, GUARDED_SECONDS)
            with checks, suppress(StopTraining, Exception):  # the first run showed its errors
                _run_to_end(self.function())
        return checks.findings()

    def run_repeated(self, times: int) -> Trace | None:
        """Return None, because a script chooses its batches."""
        return None


def _run_to_end(returned: Any) -> Any:
    """Run a generator or a coroutine to its end; return any other value."""
    if inspect.isgenerator(returned):
        deque(returned, maxlen=0)
        return None
    return asyncio.run(returned) if inspect.iscoroutine(returned) else returned


class StepTraining:
    """A step function with model, optimiser and batches, called as step(model, optimizer, batch).

    The doctor runs the original objects, not copies: the step may refer to them in other ways.
    After each run it restores them.

    Args:
        step: makes one update, or a part of an update with gradient accumulation.
        model: the network.
        optimizer: the optimiser of its weights.
        batch: one batch, or an iterable of batches.

    Raises:
        ExaminationError: the iterable is empty.
    """

    def __init__(
        self, step: TrainingStep, model: nn.Module, optimizer: Optimizer, batch: Any
    ) -> None:
        self.step, self.model, self.optimizer = step, model, optimizer
        with restored(*loader_generators(batch)):
            self.batches = list_batches(batch)
        self.alternative_batches = alternative_batches(batch, self.batches)

    @property
    def samples(self) -> int:
        """The number of samples in the first batch; 0 if it is unknown."""
        tensors = [t for t in tree_leaves(self.batches[0]) if isinstance(t, Tensor) and t.ndim]
        return len(tensors[0]) if tensors else 0

    @property
    def has_several_batches(self) -> bool:
        """Whether there is more than one batch."""
        return len(self.batches) > 1

    def run(
        self, steps: int, intervention: Intervention | None = None, *, one_batch: bool = False
    ) -> Trace:
        """Train for a number of optimiser steps and return the trace.

        A list may be one batch or a list of batches. If the step fails with one interpretation,
        the other is tried.

        Args:
            steps: the number of steps.
            intervention: the change of an experiment.
            one_batch: whether to train on the first batch only.

        Returns:
            The trace.
        """
        trace = self._run(self.batches[:1] if one_batch else self.batches, steps, intervention)
        if trace.error and not trace.steps and self.alternative_batches:
            other = self._run(self.alternative_batches, steps, intervention)
            if not other.error and other.steps:
                self.batches, self.alternative_batches = self.alternative_batches, []
                return other
        return trace

    def run_repeated(self, times: int) -> Trace | None:
        """Make one step on a batch in which each sample occurs several times, if possible."""
        batch = self.batches[0]
        sizes = {len(t) for t in tree_leaves(batch) if isinstance(t, Tensor) and t.ndim}
        if len(sizes) != 1 or any(isinstance(t, Tensor) and not t.ndim for t in tree_leaves(batch)):
            return None
        many = tree_map(lambda t: torch.cat([t] * times) if isinstance(t, Tensor) else t, batch)
        return self._run([many], 1, None)

    def check_numbers(self) -> list[CodeFinding]:
        """Train for more steps, and return the finding of the first inf or NaN."""
        with restored(self.step, self.model, self.optimizer, self.batches), isolated():
            found = reachable_objects(self.step, self.model, self.optimizer)
            optimizers = [each for each in found if isinstance(each, Optimizer)]
            checks = NumberChecks(optimizers, GUARDED_STEPS, GUARDED_SECONDS)
            with checks, suppress(StopTraining, Exception):  # the first run showed its errors
                for batch in islice(cycle(self.batches), GUARDED_STEPS * MAX_CALLS):
                    self.step(self.model, self.optimizer, batch)
        return checks.findings()

    def _run(self, batches: list[Any], steps: int, intervention: Intervention | None) -> Trace:
        """Train on some batches.

        Args:
            batches: the batches, repeated in order.
            steps: the number of optimiser steps.
            intervention: the change of an experiment.

        Returns:
            The trace.
        """
        with restored(self.step, self.model, self.optimizer, self.batches), isolated():
            found = reachable_objects(self.step, self.model, self.optimizer)
            optimizers = [each for each in found if isinstance(each, Optimizer)]
            observer = TrainingObserver(optimizers, intervention)
            if isinstance(self.model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
                observer.modules.outermost[id(self.model)] = self.model
            with recorded_errors(observer), observer:
                for batch in islice(cycle(batches), steps * MAX_CALLS):
                    self.step(self.model, self.optimizer, batch)
                    if observer.log.step >= steps:
                        break
        return observer.trace


@contextmanager
def recorded_errors(observer: TrainingObserver) -> Generator[None]:
    """Record the error that ends a training: it may be a symptom of a mistake.

    Raises:
        ExaminationError: the program ends before its first optimiser step.
    """
    try:
        yield
    except SystemExit as error:
        if not observer.log.step:
            raise ExaminationError(
                "expected a training, but the program ends before its first update; its command "
                "line was empty: if it needs arguments, name a function that passes them"
            ) from error
    except Exception as error:
        if observer.is_over:  # raised by the user's handling of `StopTraining`
            return
        observer.log.add(
            TrainingError(
                line=line_of_error(error),
                step=observer.log.step,
                message=first_line(error),
                kind=type(error).__name__,
            )
        )


def list_batches(source: Any) -> list[Any]:
    """Return the first batches of a source as a list.

    A tensor, a tuple, a mapping, and a list that contains a tensor are one batch. Any other
    iterable contains batches.

    Raises:
        ExaminationError: the iterable is empty.
    """
    if callable(source) and not hasattr(source, "__iter__"):
        source = source()
    is_list = isinstance(source, list)
    if isinstance(source, Tensor | tuple | dict) or (
        is_list and any(isinstance(each, Tensor) for each in source)
    ):
        return [source]
    if not isinstance(source, Iterable) or isinstance(source, str) or hasattr(source, "keys"):
        return [source]
    found = [*islice(source, MAX_BATCHES)]
    if not found:
        raise ExaminationError("expected a batch, or an iterable of batches; given none")
    return found


def alternative_batches(source: Any, read: list[Any]) -> list[Any]:
    """Return the other interpretation of a list: as one batch, or as a list of batches.

    Args:
        source: the batch or batches of the user.
        read: the result of `list_batches(source)`.

    Returns:
        The batches in the other interpretation; [] if `source` is not a list.
    """
    if not isinstance(source, list):
        return []
    parts: list[Any] = source
    return parts[:MAX_BATCHES] if len(read) == 1 and read[0] is parts else [parts]


def loader_generators(loader: Any) -> list[Any]:
    """Return the random generators of a data loader and of its sampler."""
    owners = (loader, getattr(loader, "sampler", None))
    return [getattr(owner, "generator", None) for owner in owners]
