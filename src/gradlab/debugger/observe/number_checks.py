"""Observes only the numbers of a training: the first inf or NaN, and steps that are skipped."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.observer import MAX_PASSES, StopTraining
from gradlab.diagnosis.nonfinite_steps import first_fault, skipped
from gradlab.diagnosis.record import Record
from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.guard import NonfiniteGuard
from gradlab.recording.patches import wrap

SEVERAL = 4  # skipped steps in a row; a new GradScaler may skip some


class NumberChecks:
    """Checks the numbers of the training that runs inside; a context manager for one use.

    It costs much less than `TrainingObserver`, so it can observe more steps.

    Args:
        known: existing optimisers.
        most: the number of updates after which it raises `StopTraining`.
        seconds: the time after which it raises `StopTraining`.
    """

    def __init__(self, known: Iterable[Optimizer], most: int, seconds: float) -> None:
        self.most, self.end = most, time.monotonic() + seconds
        self.optimizers = list(known)
        self.updates, self.passes = 0, 0
        self.skipped: list[int] = []
        self.guard = NonfiniteGuard(self._parameters, self._names, lambda: self.attempts)
        self._contexts = ExitStack()

    def __enter__(self) -> "NumberChecks":
        for each in (
            self.guard.observe(),
            wrap(Optimizer, "__init__", self._init),
            wrap(GradScaler, "step", self._scaler_step),
            wrap(torch.autograd, "backward", self._backward),
            torch.compiler.set_stance("force_eager"),  # compiled code hides its calls
        ):
            self._contexts.enter_context(each)
        self._contexts.callback(register_optimizer_step_post_hook(self._after_update).remove)
        return self

    def __exit__(self, *error: Any) -> None:
        self.guard.finish()
        self._contexts.close()

    @property
    def attempts(self) -> int:
        """The number of steps, with the steps that a `GradScaler` skipped."""
        return self.updates + len(self.skipped)

    def findings(self) -> list[CodeFinding]:
        """Return the finding of the first inf or NaN, or of the skipped steps."""
        faults = [f.as_dict() | {"skipped": f.step in self.skipped} for f in self.guard.faults]
        info = {"faults": faults, "skipped": self.skipped, "attempts": self.attempts}
        record = Record(pd.DataFrame(), pd.DataFrame(), {"nonfinite": info})
        fault, often = first_fault(record), skipped(record)
        if fault is not None and (not fault.skipped or often or self._stays(fault)):
            return [_finding(fault, "" if often is None else f"; {often.cause}")]
        if often is not None:
            instead = "print the loss and the gradient's norm: one of them is inf or NaN"
            return [CodeFinding("skipped_steps", often.cause, "GradScaler.step", "", instead)]
        return []

    def _stays(self, fault: Fault) -> bool:
        """Return whether every step since a fault was skipped, and these are several."""
        since = range(fault.step, self.attempts)
        return len(since) >= SEVERAL and all(step in self.skipped for step in since)

    def _init(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kw: Any) -> None:
        original(optimizer, *args, **kw)
        if not any(optimizer is each for each in self.optimizers):
            self.optimizers.append(optimizer)

    def _parameters(self) -> dict[str, Tensor]:
        """Return the parameters of all optimisers and called modules, by name."""
        named = {id(p): (n, p) for root in self.guard.roots for n, p in root.named_parameters()}
        groups = (group for each in self.optimizers for group in each.param_groups)
        for p in (p for group in groups for p in group["params"]):
            named.setdefault(id(p), (f"a weight of shape {list(p.shape)} ({len(named)})", p))
        return dict(named.values())

    def _names(self) -> dict[int, str]:
        """Return the names of the called modules, by id."""
        return {
            id(part): name or type(root).__name__
            for root in self.guard.roots
            for name, part in root.named_modules()
        }

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = original(*args, **kwargs)
        self.passes += 1
        if self.passes > MAX_PASSES * self.most or time.monotonic() > self.end:
            raise StopTraining
        return out

    def _scaler_step(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Count a step that the scaler skips."""
        before = self.updates
        out = original(*args, **kwargs)
        if self.updates == before:
            self.skipped.append(self.attempts)
            if self.attempts >= self.most:
                raise StopTraining
        return out

    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Count an update; stop after a fault that reaches the weights, and after enough updates.

        Args:
            optimizer: Not used.
            args: Not used.
            kwargs: Not used.
        """
        self.updates += 1
        reached = any(fault.step not in self.skipped for fault in self.guard.faults)
        if reached or self.attempts >= self.most:
            raise StopTraining


def _finding(fault: Fault, more: str) -> CodeFinding:
    """Return the finding of an inf or NaN.

    Args:
        fault: the fault.
        more: further evidence.
    """
    what = fault.received if fault.stage in ("data", "update") else fault.sentence()
    return CodeFinding(
        "inf_or_nan",
        f"{what or fault.effect}" + (f": {fault.reason}" if fault.reason else ""),
        f"{fault.line}: {fault.code}" if fault.line else fault.operation or "the training step",
        f"at step {fault.step} {fault.effect}{more}",
        fault.remedy or "keep the arguments of the operation in its range",
    )
