"""Did the network learn? The loss against its start and against the best constant output."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gradlab.diagnosis.advice import SMALLER_RATE
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import join_sentence
from gradlab.pages.numbers import percent

FEWEST = 50  # steps with a loss that are needed for a judgement
SHARE = 5  # the start and the end are a fifth of the steps each
SURE = 3.0  # standard errors
NEGLIGIBLE = 1e-3  # of the loss
NORMAL = 0.9539  # median |x - y| of two independent standard normal variables
TYPICAL = 1e-3  # usual ratio of an update to its weights
SMALL_PATH = 0.01  # of the weights, by all updates together
CLIPPED = 0.01  # of the gradient norm, after clipping
LARGE = 0.05  # of the weights, by one update


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


def not_learning(record: Record) -> Finding | None:
    """Find a network whose loss has not fallen, or is not below the loss of a constant output.

    Without the loss of the best constant output, as for a watched network, a flat loss may be one
    that cannot fall. Then the updates must show the reason.

    Returns:
        The finding, or None.
    """
    loss = record.over_steps("loss")
    values = loss.to_numpy()
    if len(values) < FEWEST or not np.isfinite(values).all():
        return None
    progress = measure_change(values)
    chance = (record.info.get("data") or {}).get("constant_loss")
    level = progress.start if chance is None else float(chance)
    least = max(SURE * progress.error * 2**0.5, NEGLIGIBLE * abs(level))
    falls = progress.before - progress.end > least
    if falls or level - progress.end > least:
        return None
    if chance is None and progress.start - progress.end > least:
        return None
    reason, remedies = _reason(record)
    if chance is None and not reason:
        return None
    against = (
        f"the loss, {progress.end:.3g}, is not below {chance:.3g}, the loss of the best constant "
        "output"
        if chance is not None
        else f"the loss does not fall: {progress.start:.3g} at first, {progress.end:.3g} at the end"
    )
    return Finding(
        kind="not_learning",
        where=(),
        since=int(loss.index[0]),
        severity="gross" if reason else "mild",
        cause=join_sentence(f"{against}, after {len(values)} steps", reason),
        evidence={"start": progress.start, "end": progress.end, "error": progress.error},
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
