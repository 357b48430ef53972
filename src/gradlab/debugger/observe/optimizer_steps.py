"""Optimisers, clipping, loss scales and schedules: what happens to gradients on their way."""

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

from gradlab.debugger.observe.event_log import Log
from gradlab.debugger.observe.source_lines import here
from gradlab.debugger.observe.symmetry import Alike
from gradlab.debugger.observe.trace import Attempt, Clip, Schedule, Unscale, Update
from gradlab.recording.patches import classes_that_define, wrap, wrap_decorated

CLIPPING = (clip_grad.clip_grad_norm_, clip_grad.clip_grad_value_)


class Steps:
    """Watches what stands between gradients and weights; `lr` multiplies all learning rates."""

    def __init__(self, log: Log, lr: float, made: Callable[[], None]) -> None:
        self.log, self.lr, self.made = log, lr, made  # `made` is called after every update
        self.before: list[tuple[dict[str, Any], dict[int, Tensor], list[Any]]] = []
        self.running: list[Optimizer] = []
        self.alike = Alike()

    @contextmanager
    def watched(self) -> Generator[None]:
        """Watch all optimisers that step inside."""
        scaler = torch.amp.GradScaler  # pyright: ignore[reportPrivateImportUsage]
        with ExitStack() as stack:
            stack.enter_context(wrap(Optimizer, "__init__", self._make))
            stack.enter_context(wrap(scaler, "unscale_", self._unscale))
            stack.enter_context(wrap(scaler, "step", self._attempt))
            for each in classes_that_define("step", lr_scheduler.LRScheduler):
                stack.enter_context(wrap(each, "step", self._schedule))
            for each in CLIPPING:
                stack.enter_context(wrap_decorated(each, self._clip))
            for handle in (
                register_optimizer_step_pre_hook(self._step),
                register_optimizer_step_post_hook(self._stepped),
            ):
                stack.callback(handle.remove)
            yield

    def clamped(self, name: str) -> Callable[[Any], None]:
        """Take the moment before a gradient is clamped by hand; return what takes the one after."""
        log, now, before = self.log, self.log.now(), self.log.prints()
        return lambda out: log.tell(Clip(**now, name=name, before=before, after=log.prints()))

    def _make(self, original: Callable[..., Any], made: Any, *args: Any, **kwargs: Any) -> None:
        with self.log.hush():
            original(made, *args, **kwargs)
        self.log.optimizers.setdefault(id(made), made)
        self.log.made[id(made)] = here()

    def _step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        log = self.log
        self.running.append(optimizer)
        if self.running.count(optimizer) > 1:  # a step that calls its class's own: one update
            return None
        log.optimizers.setdefault(id(optimizer), optimizer)
        found = log.prints()
        log.quiet += 1
        held = _held(optimizer)
        rates = [group.get("lr") for group in optimizer.param_groups]
        note = {
            "before": found,
            "lr": max((float(lr) for lr in rates if lr is not None), default=0.0),
            "idle": {id(w): float(w.detach().double().sum()) for w in self._idle(held)},
            "alike": self.alike.rows(optimizer, held),
            "columns": self.alike.columns(optimizer, held),
        }
        self.before.append((note, {id(w): w.detach().clone() for w in held}, rates))
        self._set(optimizer, [None if lr is None else lr * self.lr for lr in rates])
        return tuple(map(self._aloud, args)), {k: self._aloud(v) for k, v in kwargs.items()}

    def _idle(self, held: list[Tensor]) -> list[Tensor]:
        """Return the weights without a gradient, and those that are in no optimiser."""
        everybodys = self.log.held
        loose = [w for key, w in self.log.weights.items() if key not in everybodys]
        return [w for w in held if w.grad is None] + loose

    def _set(self, optimizer: Optimizer, rates: list[Any]) -> None:
        """Give an optimiser other learning rates, where it has any, if that is tried."""
        for group, lr in zip(optimizer.param_groups, rates, strict=False):
            if self.lr != 1 and lr is not None:
                group["lr"] = lr

    def _aloud(self, given: Any) -> Any:
        """Wrap the closure that an optimiser calls: what it does is the user's again."""
        if not callable(given) or isinstance(given, Optimizer):
            return given

        def call() -> Any:
            quiet, self.log.quiet = self.log.quiet, 0
            try:
                return given()
            finally:
                self.log.quiet = quiet

        return call

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self.running.pop()
        if optimizer in self.running:
            return
        log, (note, copies, rates) = self.log, self.before.pop()
        self._set(optimizer, rates)
        held = [w for w in _held(optimizer) if id(w) in copies]
        with torch.no_grad():
            moved = [(w - copies[id(w)]).double().square().sum() for w in held]
        log.quiet -= 1
        log.tell(
            Update(
                **log.now(),
                **note,
                optimizer=id(optimizer),
                rule=type(optimizer).__name__,
                momentum=float(optimizer.param_groups[0].get("momentum") or 0.0),
                held=frozenset(copies),
                after=log.prints(),
                moved=float(sum(moved)) ** 0.5,
                zero=frozenset(id(w) for w in held if id(w) in note["alike"] and not w.any()),
            )
        )
        log.update += 1
        self.made()

    def _clip(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        limit = args[1] if len(args) > 1 else kwargs.get("max_norm", kwargs.get("clip_value"))
        if self.log.quiet or limit == inf:  # the latter only measures the norm
            return original(*args, **kwargs)
        after = self.clamped(original.__name__)
        with self.log.hush():
            out = original(*args, **kwargs)
        after(out)
        return out

    def _unscale(self, original: Callable[..., Any], scaler: Any, optimizer: Any) -> None:
        with self.log.hush():
            original(scaler, optimizer)
        self.log.tell(Unscale(**self.log.now(), optimizer=id(optimizer)))

    def _attempt(
        self, original: Callable[..., Any], scaler: Any, optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.log.tell(Attempt(**self.log.now(), optimizer=id(optimizer)))
        return original(scaler, optimizer, *args, **kwargs)

    def _schedule(self, original: Callable[..., Any], schedule: Any, *args: Any, **kw: Any) -> Any:
        is_first = getattr(schedule, "_step_count", 0) == 0  # made by the constructor
        if not is_first and not self.log.quiet:
            optimizer = id(getattr(schedule, "optimizer", None))
            self.log.tell(Schedule(**self.log.now(), optimizer=optimizer))
        with self.log.hush():
            return original(schedule, *args, **kw)


def _held(optimizer: Optimizer) -> list[Tensor]:
    return [w for group in optimizer.param_groups for w in group["params"]]
