"""Follow the steps of a training loop through hooks on its optimisers.

The gradient of a parameter is read when it is complete: after accumulation over micro-batches,
averaging over processes and unscaling. This is just before clipping or, without clipping, just
before the optimiser's step. A step is complete when every watched optimiser has made one update.
"""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradlab.errors import WatchError
from gradlab.monitor.backward_passes import BackwardPasses
from gradlab.monitor.failsafe import Failures, catch_failures
from gradlab.monitor.optimizers import WatchedOptimizers, parameters_of, read_setting, skips_update
from gradlab.monitor.signals import WatchedSignals
from gradlab.monitor.torch_hooks import notify
from gradlab.monitor.watched_step import WatchedStep, WatchedWeights

PER_DECADE = 10


def schedule(every: int | str) -> Callable[[int], bool]:
    """Return a function that returns whether to record a step.

    Args:
        every: N for each N-th step; "log" for ten steps per factor of 10, as 40 in 10,000 steps.

    Raises:
        WatchError: `every` is something else.

    >>> [step for step in range(40) if schedule("log")(step)]
    [0, 1, 2, 3, 4, 6, 7, 8, 10, 13, 16, 20, 26, 32]
    """
    if every == "log":
        return _is_logarithmic
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise WatchError(
            f'expected every to be an integer of at least 1, or "log", given {every!r}'
        )
    return lambda step: step % every == 0


def _is_logarithmic(step: int) -> bool:
    return step < 2 or _tenths(step) > _tenths(step - 1)


def _tenths(step: int) -> int:
    return math.floor(PER_DECADE * math.log10(step) + 1e-9)


@dataclass
class SkippedSteps:
    """The steps that a `GradScaler` has skipped.

    Attributes:
        steps: Their numbers; the skipped steps count.
        scales: The loss scale of each.
        noted: How many of them a note mentions.
    """

    steps: list[int] = field(default_factory=list[int])
    scales: list[float] = field(default_factory=list[float])
    noted: int = 0

    def take_count(self) -> int:
        """Return the number of skipped steps since the last call."""
        count, self.noted = len(self.steps) - self.noted, len(self.steps)
        return count


class StepTracker:
    """Follows the optimisers, and passes on each step that is to be recorded.

    Args:
        signals: The signals of the network's modules.
        optimizers: The optimisers whose updates make a step.
        is_recorded: Function from `schedule`.
        on_step: Called with each recorded step.

    Attributes:
        skips: The steps that a `GradScaler` has skipped.
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
        self.skips = SkippedSteps()
        self._stepping: Optimizer | None = None
        self._scaler_steps: Optimizer | None = None  # inside `GradScaler.step`
        self._passes = BackwardPasses(optimizers.network, signals)
        self._read: set[int] = set()  # parameters read at clipping since the last backward pass
        self._step = WatchedStep(0, WatchedWeights(signals.modules), is_recorded(0))

    @property
    def attempts(self) -> int:
        """The number of steps so far, with the skipped steps."""
        return self._step.index + len(self.skips.steps)

    @property
    def current(self) -> WatchedStep:
        """The current step."""
        return self._step

    @property
    def is_recorded_now(self) -> bool:
        """Whether the current step is recorded."""
        return self._step.recorded

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
            failed: Whether training failed. Then the step is dropped, because other processes
                might not complete it.
        """
        self._stepping = None
        if self._step.stepped and not failed:
            self._complete()

    # Hooks of the optimisers

    @catch_failures
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Read the gradients, or observe the closure that computes them.

        Args:
            optimizer: An optimiser that is about to step.
            args: Arguments of its method `step`, with the optimiser first.
            kwargs: Keyword arguments.

        Returns:
            The arguments with an observed closure; None leaves them unchanged.
        """
        if self._stepping not in (None, optimizer):
            return None  # an optimiser inside another one: they make one update together
        if not self.optimizers.includes(optimizer):
            return None
        self._scaler_steps = None
        if skips_update(optimizer):
            self._skip(float(getattr(optimizer, "grad_scale", 1.0)))
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
        """Return a closure whose first evaluation is recorded; LBFGS makes several in a step."""
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
        """Complete the step if every optimiser has made an update.

        Args:
            optimizer: An optimiser that has stepped.
            args: Not used.
            kwargs: Not used.
        """
        if self._stepping is not optimizer:
            return
        self._stepping = None
        if (
            getattr(optimizer, "grad_scale", None) is not None
        ):  # a fused optimiser unscales in its step
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
            self._step.lr = read_setting(optimizer, "lr")

    @catch_failures
    @torch.no_grad()
    def _read_gradients(self, optimizer: Optimizer) -> None:
        """Read losses, calls and gradients of the update that an optimiser is about to make."""
        step, (losses, calls) = self._step, self._passes.take()
        if not step.recorded:
            return
        step.losses += losses
        step.calls += calls
        updated = parameters_of(optimizer)
        if not step.stepped:  # parameters without an optimiser are read at the first update
            others = _ids(self.optimizers.chosen or [optimizer]) | self._read
            self._read_each(p for p in self.optimizers.network.parameters() if id(p) not in others)
        step.read_clipped(p for p in updated if id(p) in self._read)
        self._read_each(p for p in updated if id(p) not in self._read)

    def _read_each(self, parameters: Iterable[Tensor]) -> None:
        for p in parameters:
            self._step.read(p, self._passes.scales.remaining_scale(p))

    @catch_failures
    @torch.no_grad()
    def _complete(self) -> None:
        """Pass on the step, and begin the next."""
        step = self._step
        if step.recorded:
            step.weights.compare()
            self.on_step(step)
        weights = WatchedWeights(self.signals.modules)
        self._step = WatchedStep(step.index + 1, weights, self.is_recorded(step.index + 1))
        self._set_recording()
        self._passes.scales.end_step()
        # Gradients that were clipped in this step belong to the next if their optimiser steps then.
        self._read -= _ids(step.stepped)
        self._step.readings = {key: step.readings[key] for key in self._read}

    def _set_recording(self) -> None:
        """Record signals if they may belong to a recorded step, this one or the next."""
        step = self._step
        self.signals.on = step.recorded or (bool(step.stepped) and self.is_recorded(step.index + 1))

    def _skip(self, scale: float) -> None:
        """Discard the numbers of a skipped update."""
        self.skips.steps.append(self.attempts)
        self.skips.scales.append(scale)
        self._passes.take()
        self._read.clear()

    # Methods of `torch_hooks.Listener`

    @catch_failures
    def begin_backward(self, roots: Sequence[Tensor], loss: Tensor | None) -> None:
        """Begin a backward pass; gradients that were read before it were not complete."""
        if self._passes.begin(roots, loss):
            self._read.clear()

    @catch_failures
    def end_backward(self) -> None:
        """End a backward pass."""
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
        if fresh and all(id(p) in updated for p in fresh):  # these belong to the next step
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
        """Note that the scaler may call the optimiser's step."""
        self._scaler_steps = optimizer

    @catch_failures
    def end_scaler_step(self, optimizer: Optimizer, scaler: GradScaler) -> None:
        """Discard the gradients if the scaler has skipped the optimiser's step."""
        if self._scaler_steps is optimizer and self.optimizers.includes(optimizer):
            self._skip(scaler.get_scale())
        self._scaler_steps = None


def _ids(optimizers: Iterable[Optimizer]) -> set[int]:
    return {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
