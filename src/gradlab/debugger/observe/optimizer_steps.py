"""Records steps of optimisers, loss scalers and schedules, and gradient clipping."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradlab.debugger.observe.events import (
    GradientClip,
    OptimizerStep,
    ScalerStep,
    ScheduleStep,
    Unscale,
)
from gradlab.debugger.observe.fingerprints import EqualWeights
from gradlab.debugger.observe.source_lines import current_line
from gradlab.debugger.observe.trace import EventLog
from gradlab.recording.patches import classes_that_define, wrap, wrap_decorated

CLIPPING = (clip_grad.clip_grad_norm_, clip_grad.clip_grad_value_)


class OptimizerSteps:
    """Records the operations between backward passes and updates.

    Args:
        log: the log of events.
        lr: a factor of all learning rates.
        after_step: called after each optimiser step.
    """

    def __init__(self, log: EventLog, lr: float, after_step: Callable[[], None]) -> None:
        self.log, self.lr, self.after_step = log, lr, after_step
        self.before: list[tuple[dict[str, Any], dict[int, Tensor], list[Any]]] = []
        self.running: list[Optimizer] = []
        self.equal_weights = EqualWeights()

    @contextmanager
    def observed(self) -> Generator[None]:
        """Record all steps of optimisers, scalers and schedules inside."""
        scaler = torch.amp.GradScaler  # pyright: ignore[reportPrivateImportUsage]
        with ExitStack() as stack:
            stack.enter_context(wrap(Optimizer, "__init__", self._make))
            stack.enter_context(wrap(scaler, "unscale_", self._unscale))
            stack.enter_context(wrap(scaler, "step", self._scaler_step))
            for each in classes_that_define("step", lr_scheduler.LRScheduler):
                stack.enter_context(wrap(each, "step", self._schedule_step))
            for each in CLIPPING:
                stack.enter_context(wrap_decorated(each, self._clip))
            for handle in (
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ):
                stack.callback(handle.remove)
            yield

    def start_clip(self, name: str) -> Callable[[Any], None]:
        """Return a function that records a clip; call it after the clipping."""
        log, now, before = self.log, self.log.now(), self.log.fingerprints()
        return lambda out: log.add(
            GradientClip(**now, name=name, before=before, after=log.fingerprints())
        )

    def _make(
        self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Make an optimiser, and store the line.

        Args:
            original: `Optimizer.__init__`.
            optimizer: the new optimiser.
            args: its arguments.
            kwargs: its keyword arguments.
        """
        with self.log.pause():
            original(optimizer, *args, **kwargs)
        self.log.optimizers.setdefault(id(optimizer), optimizer)
        self.log.optimizer_lines[id(optimizer)] = current_line()

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Measure gradients and weights before a step, and change the learning rates.

        Args:
            optimizer: the optimiser.
            args: the arguments of `step`.
            kwargs: its keyword arguments.

        Returns:
            The arguments for `step`; None if this is a nested call of the same step.
        """
        log = self.log
        self.running.append(optimizer)
        if self.running.count(optimizer) > 1:  # `step` calls `super().step`: one step
            return None
        log.optimizers.setdefault(id(optimizer), optimizer)
        grads = log.fingerprints()
        log.paused += 1
        weights = _weights_of(optimizer)
        rates = [group.get("lr") for group in optimizer.param_groups]
        fields = {
            "before": grads,
            "lr": max((float(lr) for lr in rates if lr is not None), default=0.0),
            "idle": {id(w): float(w.detach().double().sum()) for w in self._idle(weights)},
            "row_agreement": self.equal_weights.row_agreement(optimizer, weights),
            "column_spread": self.equal_weights.column_spread(optimizer, weights),
        }
        self.before.append((fields, {id(w): w.detach().clone() for w in weights}, rates))
        self._set_rates(optimizer, [None if lr is None else lr * self.lr for lr in rates])
        args = tuple(map(self._unpaused, args))
        return args, {k: self._unpaused(v) for k, v in kwargs.items()}

    def _idle(self, weights: list[Tensor]) -> list[Tensor]:
        """Return the weights without a gradient, and the weights in no optimiser."""
        in_optimizers = self.log.optimizer_weights
        others = [w for key, w in self.log.weights.items() if key not in in_optimizers]
        return [w for w in weights if w.grad is None] + others

    def _set_rates(self, optimizer: Optimizer, rates: list[Any]) -> None:
        """Set the learning rates of an optimiser, if the experiment changes them."""
        for group, lr in zip(optimizer.param_groups, rates, strict=False):
            if self.lr != 1 and lr is not None:
                group["lr"] = lr

    def _unpaused(self, closure: Any) -> Any:
        """Wrap the closure of an optimiser, so that events inside the closure are recorded."""
        if not callable(closure) or isinstance(closure, Optimizer):
            return closure

        def call() -> Any:
            paused, self.log.paused = self.log.paused, 0
            try:
                return closure()
            finally:
                self.log.paused = paused

        return call

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Record a step, and restore the learning rates.

        Args:
            optimizer: the optimiser.
            args: the arguments of `step`.
            kwargs: its keyword arguments.
        """
        self.running.pop()
        if optimizer in self.running:
            return
        log, (fields, copies, rates) = self.log, self.before.pop()
        self._set_rates(optimizer, rates)
        weights = [w for w in _weights_of(optimizer) if id(w) in copies]
        with torch.no_grad():
            moved = [(w - copies[id(w)]).double().square().sum() for w in weights]
        log.paused -= 1
        equal = fields["row_agreement"]
        zero = frozenset(id(w) for w in weights if id(w) in equal and not w.any())
        log.add(
            OptimizerStep(
                **log.now(),
                **fields,
                optimizer=id(optimizer),
                rule=type(optimizer).__name__,
                momentum=float(optimizer.param_groups[0].get("momentum") or 0.0),
                weights=frozenset(copies),
                after=log.fingerprints(),
                distance=float(sum(moved)) ** 0.5,
                zero=zero,
            )
        )
        log.step += 1
        self.after_step()

    def _clip(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a clipping function of torch, and record it.

        Args:
            original: the function.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            Its result.
        """
        limit = args[1] if len(args) > 1 else kwargs.get("max_norm", kwargs.get("clip_value"))
        if self.log.paused or limit == inf:  # an infinite limit only measures the norm
            return original(*args, **kwargs)
        record = self.start_clip(original.__name__)
        with self.log.pause():
            out = original(*args, **kwargs)
        record(out)
        return out

    def _unscale(self, original: Callable[..., Any], scaler: Any, optimizer: Any) -> None:
        """Call `GradScaler.unscale_`, and record it.

        Args:
            original: `unscale_`.
            scaler: the scaler.
            optimizer: the optimiser.
        """
        with self.log.pause():
            original(scaler, optimizer)
        self.log.add(Unscale(**self.log.now(), optimizer=id(optimizer)))

    def _scaler_step(
        self, original: Callable[..., Any], scaler: Any, optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Record `GradScaler.step`, and call it.

        Args:
            original: `step`.
            scaler: the scaler.
            optimizer: the optimiser.
            args: further arguments.
            kwargs: further keyword arguments.

        Returns:
            Its result.
        """
        self.log.add(ScalerStep(**self.log.now(), optimizer=id(optimizer)))
        return original(scaler, optimizer, *args, **kwargs)

    def _schedule_step(
        self, original: Callable[..., Any], schedule: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Record a step of a schedule, and call it.

        Args:
            original: `step`.
            schedule: the schedule.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            Its result.
        """
        is_first = getattr(schedule, "_step_count", 0) == 0  # the constructor calls `step`
        if not is_first and not self.log.paused:
            optimizer = id(getattr(schedule, "optimizer", None))
            self.log.add(ScheduleStep(**self.log.now(), optimizer=optimizer))
        with self.log.pause():
            return original(schedule, *args, **kwargs)


def _weights_of(optimizer: Optimizer) -> list[Tensor]:
    return [w for group in optimizer.param_groups for w in group["params"]]
