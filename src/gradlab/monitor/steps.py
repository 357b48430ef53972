"""Find the steps of a training loop through the hooks of its optimisers, and record them.

The gradient of a parameter is read when it is complete: after accumulation over micro-batches,
averaging over processes and unscaling. That is just before it is clipped, or else just before its
optimiser steps. A step is complete when every watched optimiser has made one update.
"""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradlab.errors import WatchError
from gradlab.monitor.backward import BackwardPasses
from gradlab.monitor.failsafe import Failures, catch_failures
from gradlab.monitor.optimizers import WatchedOptimizers, holds_inf, parameters_of, setting
from gradlab.monitor.signals import WatchedSignals
from gradlab.monitor.step import WatchedStep, WatchedWeights
from gradlab.monitor.torch_hooks import notify

PER_DECADE = 10


def schedule(every: int | str) -> Callable[[int], bool]:
    """Return a function of the step that returns whether to record it.

    Args:
        every: N for each N-th step; "log" for ten steps a decade: 40 records in 10,000 steps.

    Raises:
        WatchError: `every` is something else.

    >>> [step for step in range(40) if schedule("log")(step)]
    [0, 1, 2, 3, 4, 6, 7, 8, 10, 13, 16, 20, 26, 32]
    """
    if every == "log":
        return _is_logarithmic
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise WatchError(
            f'expected every to be a whole number from 1 on, or "log", given {every!r}'
        )
    return lambda step: step % every == 0


def _is_logarithmic(step: int) -> bool:
    return step < 2 or _tenths(step) > _tenths(step - 1)


def _tenths(step: int) -> int:
    return math.floor(PER_DECADE * math.log10(step) + 1e-9)


class StepTracker:
    """Follows the optimisers, and hands on each step that is to be recorded.

    Args:
        signals: The signals of the network's modules.
        optimizers: The optimisers whose updates make a step.
        is_recorded: Returns whether a step is to be recorded; see `schedule`.
        on_step: Called with each recorded step.

    Attributes:
        skipped: Number of steps that a `GradScaler` has skipped.
    """

    def __init__(
        self,
        signals: WatchedSignals,
        optimizers: WatchedOptimizers,
        is_recorded: Callable[[int], bool],
        on_step: Callable[[WatchedStep], None],
    ) -> None:
        self.signals, self.optimizers = signals, optimizers
        self.is_recorded, self.on_step = is_recorded, on_step
        self.skipped = 0
        self._stepping: Optimizer | None = None
        self._scaler_steps: Optimizer | None = None  # asked by a GradScaler to step, not yet called
        self._passes = BackwardPasses(optimizers.network, signals)
        self._read: set[int] = set()  # gradients read since the last backward pass, for clipping
        self._step = WatchedStep(0, WatchedWeights(signals.modules), is_recorded(0))

    @property
    def failures(self) -> Failures:
        """The handler of exceptions in hooks."""
        return self.signals.failures

    @contextmanager
    def observe(self) -> Generator[None]:
        """Register the hooks, and remove them when the context closes."""
        with ExitStack() as stack:
            for handle in (
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ):
                stack.callback(handle.remove)
            stack.enter_context(notify(self))
            self._set_recording()
            yield

    def finish(self, failed: bool) -> None:
        """Complete a step that only some of the optimisers have made.

        Args:
            failed: Whether training failed; then other processes might not complete the step.
        """
        self._stepping = None
        if self._step.stepped and not failed:
            self._complete()

    # Hooks of the optimisers

    @catch_failures
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if self._stepping not in (None, optimizer):
            return None  # one optimiser inside another makes one update
        if not self.optimizers.includes(optimizer):
            return None
        self._scaler_steps = None
        if holds_inf(optimizer):
            self._skip()
            return None
        self._stepping = optimizer
        self._begin(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._read_gradients(optimizer)
            return None
        observed = self._observe_closure(closure, optimizer)
        if len(args) > 1:
            return (args[0], observed, *args[2:]), kwargs
        return args, {**kwargs, "closure": observed}

    def _observe_closure(
        self, closure: Callable[[], Any], optimizer: Optimizer
    ) -> Callable[[], Any]:
        """Return a closure whose first evaluation is recorded (LBFGS makes several a step)."""
        first = True

        def observed() -> Any:
            nonlocal first
            try:
                loss = closure()
            except BaseException:
                self._stepping = None  # the optimiser makes no update
                self._set_recording()
                raise
            if first:
                first = False
                self._read_gradients(optimizer)
                self.signals.on = False
            return loss

        return observed

    @catch_failures
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._stepping is not optimizer:
            return
        self._stepping = None
        if getattr(optimizer, "grad_scale", None) is not None:  # a fused one unscales in its step
            self.after_unscaling(optimizer)
        self._step.stepped.append(optimizer)
        if self.optimizers.are_complete(self._step.stepped):
            self._complete()
        else:
            self._set_recording()

    @torch.no_grad()
    def _begin(self, optimizer: Optimizer) -> None:
        """Copy the weights before an update, which may be the first of a new step."""
        if any(optimizer is other for other in self._step.stepped):
            self._complete()
        if self._step.recorded and not self._step.stepped:
            self._step.weights.copy()
            self._step.lr = setting(optimizer, "lr")

    @catch_failures
    @torch.no_grad()
    def _read_gradients(self, optimizer: Optimizer) -> None:
        """Read all that belongs to the update that an optimiser is about to make."""
        step, (losses, calls) = self._step, self._passes.take()
        if not step.recorded:
            return
        step.losses += losses
        step.calls += calls
        mine = parameters_of(optimizer)
        if not step.stepped:
            held = _ids(self.optimizers.named or [optimizer]) | self._read
            self._read_each(p for p in self.optimizers.network.parameters() if id(p) not in held)
        step.read_clipped(p for p in mine if id(p) in self._read)
        self._read_each(p for p in mine if id(p) not in self._read)

    def _read_each(self, parameters: Iterable[Tensor]) -> None:
        for p in parameters:
            self._step.read(p, self._passes.scales.remaining(p))

    @catch_failures
    @torch.no_grad()
    def _complete(self) -> None:
        """Hand on the step, and begin the next."""
        step = self._step
        if step.recorded:
            step.weights.compare()
            self.on_step(step)
        weights = WatchedWeights(self.signals.modules)
        self._step = WatchedStep(step.index + 1, weights, self.is_recorded(step.index + 1))
        self._set_recording()
        self._passes.scales.end_step()
        # Clipped together with this step's gradients, for an optimiser that steps later.
        self._read -= _ids(step.stepped)
        self._step.readings = {key: step.readings[key] for key in self._read}

    def _set_recording(self) -> None:
        """Record signals if this step is recorded, or if they may belong to a recorded next one."""
        step = self._step
        self.signals.on = step.recorded or (bool(step.stepped) and self.is_recorded(step.index + 1))

    def _skip(self) -> None:
        """Discard what belongs to a skipped update."""
        self.skipped += 1
        self._passes.take()
        self._read.clear()

    # Notifications from torch's functions: `torch_hooks.Listener`

    @catch_failures
    def begin_backward(self, roots: Sequence[Tensor], loss: Tensor | None) -> None:
        """Record signals from now on; gradients read before were not complete."""
        if self._passes.begin(roots, loss):
            self._read.clear()

    @catch_failures
    def end_backward(self) -> None:
        """Record no more signals."""
        self._passes.end()

    @catch_failures
    @torch.no_grad()
    def before_clipping(self, parameters: Sequence[Tensor]) -> None:
        """Read gradients before they are clipped for the first time after a backward pass."""
        if not self.signals.on:
            return
        unread = {id(p) for p in self.optimizers.network.parameters()} - self._read
        fresh = [p for p in parameters if id(p) in unread]
        updated = _ids(self._step.stepped)
        if fresh and all(id(p) in updated for p in fresh):  # they belong to the next step
            self._complete()
            updated.clear()
        if self._step.recorded:
            fresh = [p for p in fresh if id(p) not in updated and p.grad is not None]
            self._read_each(fresh)
            self._read |= {id(p) for p in fresh}

    @catch_failures
    def after_scaling(self, losses: Sequence[Tensor], scale: Tensor) -> None:
        """Remember the scale of losses."""
        self._passes.scales.add_losses(losses, scale)

    @catch_failures
    def after_unscaling(self, optimizer: Any) -> None:
        """Remember that the gradients of an optimiser are unscaled."""
        self._passes.scales.add_unscaled(parameters_of(optimizer))

    @catch_failures
    def begin_scaler_step(self, optimizer: Optimizer) -> None:
        """Wait for the optimiser's step."""
        self._scaler_steps = optimizer

    @catch_failures
    def end_scaler_step(self, optimizer: Optimizer) -> None:
        """Discard the gradients if the scaler has skipped the optimiser's step."""
        if self._scaler_steps is optimizer and self.optimizers.includes(optimizer):
            self._skip()
        self._scaler_steps = None


def _ids(optimizers: Iterable[Optimizer]) -> set[int]:
    return {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
