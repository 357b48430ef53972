"""Did the network learn? The loss against its start and against the best constant output."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from gradlab.diagnosis.advice import SMALLER_RATE
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import join_sentence
from gradlab.pages.numbers import percent

FEWEST = 50  # steps with a loss that are needed to decide that a network does not learn
FEWEST_TO_FALL = 10  # steps with a loss that are needed to see a fall above the noise
SHARE = 5  # the start and the end are a fifth of the steps each
SURE = 3.0  # standard errors
NEGLIGIBLE = 1e-3  # of the loss
NORMAL = 0.9539  # median |x - y| of two independent standard normal variables
TYPICAL = 1e-3  # usual ratio of an update to its weights
SMALL_PATH = 0.01  # of the weights, by all updates together
CLIPPED = 0.01  # of the gradient norm, after clipping
LARGE = 0.05  # of the weights, by one update
LEARNED = 0.5  # of the loss of the best constant output


class LossChange(NamedTuple):
    """The loss at the start, shortly before the end, and at the end.

    Attributes:
        start: Mean over the first fifth of the steps.
        before: Mean over the last fifth but one.
        end: Mean over the last fifth.
        error: Standard error of each mean, from the noise of the batches.
    """

    start: float
    before: float
    end: float
    error: float


def measure_change(loss: np.ndarray) -> LossChange:
    """Return the progress of a loss.

    The noise of the batches is estimated from the differences between consecutive losses, which a
    slow fall hardly changes (von Neumann et al. 1941).

    Args:
        loss: Loss by step, finite [S].

    Returns:
        Start, end and standard error, in the unit of the loss.

    Example:
        >>> measure_change(np.repeat([3.0, 2.0, 1.0, 1.0, 1.0], 10))
        LossChange(start=3.0, before=1.0, end=1.0, error=0.0)
    """
    count = max(len(loss) // SHARE, 1)
    noise = float(np.median(np.abs(np.diff(loss)))) / NORMAL
    start, before, end = (
        float(part.mean()) for part in (loss[:count], loss[-2 * count : -count], loss[-count:])
    )
    return LossChange(start, before, end, noise / count**0.5)


def learning_state(record: Record) -> str | None:
    """Return whether the network learns.

    The loss is compared with the loss of the best constant output. For a watched network, whose
    labels are unknown, it is compared with the loss in the first fifth of the steps; then
    "not_learning" needs updates that show the reason.

    Returns:
        "learned": the loss is at most half of the reference. "learning": it is lower than the
        reference, or still falls, by 3 standard errors and 0.1%. "too_early": neither, in fewer
        than 50 steps. "not_learning": neither, or the run diverged. None: the loss is unknown, or
        it does not fall and the reason is unknown.
    """
    if record.info.get("status") == "diverged":
        return "not_learning"
    loss = _Loss(record)
    if not len(loss.values):
        return None
    if not np.isfinite(loss.values).all():
        return "not_learning" if not np.isfinite(loss.values[-1]) else None
    if len(loss.values) >= FEWEST_TO_FALL and (loss.below or loss.falls):
        learned = 0 <= loss.change.end <= LEARNED * loss.reference
        return "learned" if learned and loss.below else "learning"
    if len(loss.values) < FEWEST:
        return "too_early"
    return "not_learning" if loss.chance is not None or _reason(record)[0] else None


class _Loss:
    """The loss of a run, and its reference: the best constant output, or the first steps."""

    def __init__(self, record: Record) -> None:
        self.by_step = record.over_steps("loss")
        self.values = self.by_step.to_numpy()
        chance = (record.info.get("data") or {}).get("constant_loss")
        self.chance = None if chance is None else float(chance)

    @cached_property
    def change(self) -> LossChange:
        return measure_change(self.values)

    @property
    def reference(self) -> float:
        return self.change.start if self.chance is None else self.chance

    @property
    def least(self) -> float:
        """The smallest difference that is neither noise nor negligible."""
        return max(SURE * self.change.error * 2**0.5, NEGLIGIBLE * abs(self.reference))

    @property
    def below(self) -> bool:
        """Whether the loss at the end is below the reference."""
        return self.reference - self.change.end > self.least

    @property
    def falls(self) -> bool:
        """Whether the loss still falls at the end."""
        return self.change.before - self.change.end > self.least


def not_learning(record: Record) -> Finding | None:
    """Find a network that does not learn, as `learning_state` decides, and the reason.

    Returns:
        The finding, or None.
    """
    loss = _Loss(record)
    if learning_state(record) != "not_learning" or not np.isfinite(loss.values).all():
        return None
    reason, remedies = _reason(record)
    change = loss.change
    against = (
        f"the loss does not fall: {change.start:.3g} at first, {change.end:.3g} at the end"
        if loss.chance is None
        else f"the loss, {change.end:.3g}, is not below {loss.chance:.3g}, the loss of the best "
        "constant output"
    )
    return Finding(
        kind="not_learning",
        where=(),
        since=int(loss.by_step.index[0]),
        severity="severe" if reason else "mild",
        cause=join_sentence(f"{against}, after {len(loss.values)} steps", reason),
        evidence={"start": change.start, "end": change.end, "error": change.error},
        remedies=remedies,
    )


def _reason(record: Record) -> tuple[str, tuple[str, ...]]:
    """Return why the weights do not learn, where the updates show it, and remedies."""
    grid = record.depth
    gradients, ratios = grid["weight_grad_norm"], grid["update_ratio"]
    known = ~np.isnan(gradients) & ~np.isnan(ratios)
    if not known.any():
        return "", ()
    rate = record.config.get("optim.lr")
    named = f"the learning rate {rate:g}" if rate else "the learning rate"
    moved = ratios[known]
    if not (gradients[known] > 0).any():
        return "the gradient of every layer is exactly 0", ("model.init=default",)
    if not (moved > 0).any():
        reason = f"{named} is so small that {record.dtype} rounds weight plus update to the weight"
        return reason, _larger(record)
    typical = float(np.median(moved[moved > 0]))
    steps = len(record.over_steps("loss"))
    path = typical * steps
    if path < SMALL_PATH:
        change = (
            f"all {steps} updates together change the weights by about {path:.1g} of their norm"
        )
        factor = float(record.over_steps("clip_factor").median())
        if factor < CLIPPED:
            return f"clipping leaves {percent(factor)} of the gradient: {change}", ("clip=none",)
        return f"{named} is too small: {change}", _larger(record)
    if typical > LARGE:
        reason = f"{named} is too large: one update changes the weights by {typical:.0%}"
        return reason, (SMALLER_RATE, "clip=norm")
    return "", ()


def _larger(record: Record) -> tuple[str, ...]:
    """Return a rate whose updates have the usual size, from the gradients of the first step."""
    grid = record.depth
    ratios = grid["weight_grad_norm"][0] / grid["weight_norm"][0]
    size = pd.Series(ratios).replace([0, np.inf], np.nan).median()
    if record.config.get("optim") != "sgd" or not np.isfinite(size):
        return ("optim.lr=0.001",)
    return (f"optim.lr={TYPICAL / size:.1g}",)
