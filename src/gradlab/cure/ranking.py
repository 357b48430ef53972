"""From trials to a ranking: what each remedy did to the findings and to the loss.

A trial's final loss is the mean over the last tenth of its steps, and infinite if it diverged or
failed. A remedy's is the median over its seeds. It is *lower* (*higher*) than unchanged if it is
below (above) that of every unchanged seed, and by more than 5% of their median. A remedy is
*lighter* (*heavier*) if the mean gravity of its trials is (0 healthy, 1 mild, 2 gross, 3 diverged).
A trial *learns* if its loss ends at least 10% below its first, and below that of an output of
zeros, which a network that explodes at first may yet be far above. Then the verdict is

    cures      in most seeds healthy and learning; lighter, and the loss is not higher
    helps      lighter or lower, and neither heavier nor higher; learning in most seeds, or
               healthy in more
    worse      heavier or higher, and neither lighter nor lower
    no better  all else, as one for the other: lighter but higher, lower but heavier
    failed     no seed could be trained
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.cure.remedies import Remedy
from gradlab.cure.trial import FAILED, Trial

VERDICTS = ("cures", "helps", "no better", "worse", "failed")
MARGIN = 0.05
LEARNT = 0.1


@dataclass(frozen=True)
class Rank:
    """A remedy with its trials in sum; medians over the seeds.

    `left` counts the seeds in which each kind of finding is left.
    """

    remedy: Remedy
    verdict: str
    seeds: int
    healthy: int
    learning: int
    gravity: float
    left: dict[str, int]
    decades: float
    loss: float
    loss_low: float
    loss_high: float
    test_loss: float
    test_accuracy: float
    error: str | None


def rank(trials: Sequence[Trial], unchanged: Remedy) -> tuple[Rank, list[Rank]]:
    """Return the unchanged run, and the remedies, best first.

    The order is that of the verdicts, then of the loss in two digits, then of the gravity, then of
    the decades that the error signal gains or loses.

    Args:
        trials: of all remedies, those of `unchanged` among them.
        unchanged: the remedy to compare with.
    """
    by_remedy: dict[Remedy, list[Trial]] = {}
    for trial in trials:
        by_remedy.setdefault(trial.remedy, []).append(trial)
    base = summed(by_remedy.pop(unchanged), "unchanged")
    ranks = [summed(group, judged(summed(group, ""), base)) for group in by_remedy.values()]
    return base, sorted(ranks, key=_place)


def summed(trials: Sequence[Trial], verdict: str) -> Rank:
    """Return the trials of one remedy in sum."""
    finals = [final(trial) for trial in trials]
    return Rank(
        remedy=trials[0].remedy,
        verdict=verdict,
        seeds=len(trials),
        healthy=sum(trial.gravity == 0 for trial in trials),
        learning=sum(_learns(trial) for trial in trials),
        gravity=sum(trial.gravity for trial in trials) / len(trials),
        left=dict(Counter(kind for trial in trials for kind in trial.kinds)),
        decades=_median([trial.decades for trial in trials]),
        loss=_median(finals),
        loss_low=min(finals),
        loss_high=max(finals),
        test_loss=_median([_known(trial.test_loss) for trial in trials]),
        test_accuracy=_median([_known(trial.test_accuracy) for trial in trials]),
        error=next((trial.error for trial in trials if trial.error), None),
    )


def judged(found: Rank, base: Rank) -> str:
    """Return the verdict on a remedy: see the module's head."""
    if found.gravity == FAILED:
        return "failed"
    lighter, heavier = found.gravity < base.gravity, found.gravity > base.gravity
    lower, higher = is_lower(found, base), is_higher(found, base)
    learning, healthy = found.learning > found.seeds / 2, found.healthy > found.seeds / 2
    if healthy and learning and lighter and not higher:
        return "cures"
    if (lighter or lower) == (heavier or higher):
        return "no better"
    if heavier or higher:
        return "worse"
    more = found.healthy / found.seeds > base.healthy / base.seeds
    return "helps" if learning or more else "no better"


def is_lower(found: Rank, base: Rank) -> bool:
    """Say whether a remedy's loss is below all of the unchanged run's."""
    return found.loss < base.loss_low and not _near(found, base)


def is_higher(found: Rank, base: Rank) -> bool:
    """Say whether a remedy's loss is above all of the unchanged run's."""
    return found.loss > base.loss_high and not _near(found, base)


def final(trial: Trial) -> float:
    """Return the mean loss over the last tenth of the steps; what is not finite is infinite."""
    if not trial.losses or "diverged" in trial.kinds:
        return math.inf
    value = float(np.mean(trial.losses[-max(1, len(trial.losses) // 10) :]))
    return value if math.isfinite(value) else math.inf


def _near(found: Rank, base: Rank) -> bool:
    known = math.isfinite(found.loss) and math.isfinite(base.loss)
    return known and abs(found.loss - base.loss) <= MARGIN * abs(base.loss)


def _learns(trial: Trial) -> bool:
    if not trial.losses:
        return False
    start = min(trial.losses[0], trial.blind)
    return math.isfinite(start) and final(trial) <= start - LEARNT * abs(start)


def _place(found: Rank) -> tuple[float, ...]:
    size = math.inf if math.isnan(found.decades) else abs(found.decades)
    return VERDICTS.index(found.verdict), float(f"{found.loss:.2g}"), found.gravity, size


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _median(values: Sequence[float]) -> float:
    known = sorted(value for value in values if not math.isnan(value))
    middle = len(known) // 2
    if not known:
        return math.nan
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
