"""The course of the losses in a trial: where it ends, and whether it leaps on its way."""

from math import isfinite
from statistics import fmean

LAST = 5  # losses that are averaged at the end
PEAK = 3.0  # of the first loss: a batch that is learnt does not go up so far


def final(losses: list[float]) -> float:
    """Return the mean of the last losses; infinity if one is not finite."""
    last = losses[-LAST:]
    return fmean(last) if losses and all(map(isfinite, losses)) else float("inf")


def is_sick(losses: list[float]) -> bool:
    """Say whether a batch that is seen again and again is not learnt, or by leaps only."""
    return not final(losses) <= 0.5 * losses[0] or leaps(losses)


def leaps(losses: list[float], peak: float = PEAK) -> bool:
    """Say whether the loss leaves all bounds on its way."""
    return not all(map(isfinite, losses)) or max(losses) > peak * losses[0]


def is_calm(losses: list[float]) -> bool:
    """Say whether the loss never goes up by much."""
    return all(map(isfinite, losses)) and max(losses, default=0.0) <= 1.5 * losses[0]


def is_better(other: list[float], losses: list[float], margin: float) -> bool:
    """Say whether one course is calm and goes further down than another, by a factor at least."""
    if not other:  # the training cannot be done in the other way
        return False
    further = final(other) < margin * final(losses)
    if not is_sick(losses):  # then only if it also falls by more, from where it starts
        further = further and final(other) / other[0] < final(losses) / losses[0]
    return is_calm(other) and (further or leaps(losses))


def course(losses: list[float]) -> str:
    """Tell the course of the losses in a trial."""
    peak = max((x for x in losses if isfinite(x)), default=0.0)
    by = f" by way of {peak:.3g}" if peak > PEAK * losses[0] else ""
    return f"{len(losses)} updates take the loss from {losses[0]:.3g}{by} to {final(losses):.3g}"
