"""Leave out the updates in which the loss spikes."""

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from gradlab.diagnosis.spikes import WINDOW, height, usual_level
from gradlab.monitor.failsafe import Failures, catch_failures
from gradlab.monitor.optimizers import parameters_of
from gradlab.monitor.statistics import norm_of_readings, sum_losses
from gradlab.monitor.watched_step import WatchedStep


class SpikeGuard:
    """Sets gradients to None before an update in which loss and gradient norm spike.

    An optimiser of torch leaves a parameter without a gradient, and its state, unchanged. Values
    that are not finite count as a spike. A spike enters the usual level too, so a level that rises
    for good ends the skipping after half a window.

    Args:
        step: Returns the current step.
        includes: Returns whether an optimiser's updates count as steps of the network.
        failures: The handler of exceptions in hooks.
        ranks: Number of processes that average their gradients.
        sigmas: Height of a spike in standard deviations above the steps before.

    Attributes:
        skipped: Numbers of the steps that were left out since the last `take`.
    """

    def __init__(
        self,
        step: Callable[[], WatchedStep],
        includes: Callable[[Optimizer], bool],
        failures: Failures,
        ranks: int,
        sigmas: float,
    ) -> None:
        self.failures, self.skipped = failures, list[int]()
        self._step, self._includes = step, includes
        self._ranks, self._sigmas = ranks, sigmas
        self._losses, self._norms = (deque[float](maxlen=WINDOW) for _ in range(2))

    @contextmanager
    def observe(self) -> Generator[None]:
        """Check each update until the context closes. The hook of the step tracker runs first."""
        handle = register_optimizer_step_pre_hook(self._before_update)
        try:
            yield
        finally:
            handle.remove()

    def take(self) -> list[int]:
        """Return the steps that were left out since the last call."""
        skipped, self.skipped = self.skipped, []
        return skipped

    @catch_failures
    @torch.no_grad()
    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Remove the gradients of an update with a spike.

        Args:
            optimizer: The optimiser that is about to step.
            args: Arguments of its method `step`, with the optimiser first.
            kwargs: Keyword arguments.
        """
        has_closure = len(args) > 1 or kwargs.get("closure") is not None
        if has_closure or not self._includes(optimizer):
            return
        step, parameters = self._step(), parameters_of(optimizer)
        loss, norm = self._read(step, {id(p) for p in parameters})
        spikes = is_spike(loss, self._losses, self._sigmas) and is_spike(
            norm, self._norms, self._sigmas
        )
        self._losses.append(loss)
        self._norms.append(norm)
        if spikes or not (math.isfinite(loss) and math.isfinite(norm)):
            for p in parameters:
                p.grad = None
            self.skipped.append(step.index)

    def _read(self, step: WatchedStep, parameters: set[int]) -> tuple[float, float]:
        """Return the mean loss over the processes, and the norm of the gradient before clipping."""
        norms = [reading.norm for key, reading in step.readings.items() if key in parameters]
        if not norms or not step.losses:
            return 0.0, 0.0
        norm = norm_of_readings(norms)
        both = torch.stack([sum_losses(step.losses, norm.device), norm.double()])
        if self._ranks > 1:
            dist.all_reduce(both)
            both /= self._ranks
        loss, norm = both.tolist()
        return loss, norm


def is_spike(value: float, before: deque[float], sigmas: float) -> bool:
    """Return whether a value is this many standard deviations above the usual level before it."""
    values = np.array([*before, value])
    return bool(height(values, usual_level(values))[-1] >= sigmas)
