"""Observes a training: functions of torch, modules, backward passes and optimisers."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.debugger.observe.autograd_graph import GraphMarks
from gradlab.debugger.observe.backward_calls import BackwardCalls
from gradlab.debugger.observe.events import CustomFunctionCall
from gradlab.debugger.observe.function_events import Recorders
from gradlab.debugger.observe.module_calls import Intervention, ModuleCalls
from gradlab.debugger.observe.optimizer_steps import OptimizerSteps
from gradlab.debugger.observe.torch_functions import FunctionCalls
from gradlab.debugger.observe.trace import EventLog, Trace, tracked_weights
from gradlab.recording.patches import wrap

MAX_PASSES = 16  # backward passes for each expected step; then the training is stopped


class StopTraining(BaseException):
    """Stops a user's training after enough steps; `except Exception` does not catch it."""


class TrainingObserver:
    """Records the events of the training that runs inside; a context manager for one use.

    Args:
        known: existing optimisers.
        intervention: the change of an experiment.
        most: the number of optimiser steps after which it raises `StopTraining`; None for no limit.
    """

    def __init__(
        self,
        known: Iterable[Optimizer] = (),
        intervention: Intervention | None = None,
        most: int | None = None,
    ) -> None:
        self.most, intervention = most, intervention or Intervention()
        self.log, self.marks = EventLog(known), GraphMarks()
        self.modules = ModuleCalls(self.log, self.marks, intervention)
        self.backward = BackwardCalls(self.log, self.modules, self.marks)
        self.steps = OptimizerSteps(self.log, intervention.lr, self._after_step)
        self.trace = Trace(self.log.events)
        self._contexts = ExitStack()

    def __enter__(self) -> "TrainingObserver":
        recorders = Recorders(self.log, self.modules, self.backward, self.steps)
        for each in (
            self.modules.observed(),
            self.steps.observed(),
            wrap(nn.Module, "eval", self.modules.eval),
            wrap(torch.autograd, "backward", self._backward),
            wrap(torch.jit, "trace", self._unrecorded),
            wrap(torch.autograd.Function, "apply", self._apply),
            FunctionCalls(recorders),
            torch.compiler.set_stance("force_eager"),  # compiled code hides its calls
        ):
            self._contexts.enter_context(each)
        return self

    def __exit__(self, *error: Any) -> None:
        self._contexts.close()
        if self.most is None:
            self._find_live_graphs()
        self.trace.steps = self.log.step
        self.trace.optimizer_lines = self.log.optimizer_lines
        self.trace.modules = [called for _, called in self.modules.called.values()]
        roots = [*self.modules.outermost.values()]
        optimizers = [*self.log.optimizers.values()]
        self.trace.weights = tracked_weights(self.log.weights, roots, optimizers)

    @property
    def is_over(self) -> bool:
        """Whether the training was stopped after enough steps."""
        return self.most is not None and self.log.step >= self.most

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run and record a backward pass; stop the training after too many.

        Args:
            original: `torch.autograd.backward`.
            args: its arguments.
            kwargs: its keyword arguments.
        """
        self.backward.backward(original, *args, **kwargs)
        if self.most is not None and self.backward.count > MAX_PASSES * self.most:
            raise StopTraining

    def _unrecorded(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `torch.jit.trace` without recording, which would be traced too.

        Args:
            original: `torch.jit.trace`.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            Its result.
        """
        with self.log.pause():
            return original(*args, **kwargs)

    def _apply(self, original: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a `torch.autograd.Function`; record the call unless the function is torch's.

        Args:
            original: `torch.autograd.Function.apply`.
            function: the function.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            Its result.
        """
        if not self.log.paused and not function.__module__.startswith("torch."):
            with self.log.pause():
                copies = tuple(map(_copied, args))
                self.log.add(CustomFunctionCall(**self.log.now(), function=function, args=copies))
        return original(function, *args, **kwargs)

    def _after_step(self) -> None:
        if self.is_over:
            self._find_live_graphs()  # before the training releases its values
            raise StopTraining

    def _find_live_graphs(self) -> None:
        self.backward.forget()
        self.trace.live_graphs = self.marks.live()


def _copied(value: Any) -> Any:
    """Return a copy of a tensor with the same `requires_grad`; return other values unchanged."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)
