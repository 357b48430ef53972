"""Ranks remedies by findings and loss, and pairs the best.

The final loss of a rerun is the mean over the last tenth of its steps, infinite if it diverged or
failed. The loss of a remedy is the median over its seeds. It is *lower* (*higher*) than unchanged
if it is below (above) the loss of every unchanged seed, by more than 5% of their median. A remedy
is *milder* (*more severe*) if the mean severity over its seeds is lower (higher): 0 healthy,
1 mild, 2 severe, 3 diverged. A rerun *learns* if its final loss is at least 10% below its first
loss, and below the loss of an output of zeros. The first verdict that applies holds:

    failed     no seed could be trained
    works      most seeds are healthy and most learn; milder; the loss is not higher
    no better  neither better nor worse; or better in one respect and worse in the other
    worse      more severe or a higher loss
    helps      milder or a lower loss; most seeds learn, or more seeds are healthy than unchanged
    no better  everything else
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gradlab.config import choices
from gradlab.cure.remedies import Config, Remedy, proposals, valid_remedies
from gradlab.cure.reruns import FAILED, RerunResult

VERDICTS = ("works", "helps", "no better", "worse", "failed")
TOLERANCE = 0.05
LEARNT = 0.1
PAIRED = 4  # remedies, which form 6 pairs
MOST_PAIRS = 6


@dataclass(frozen=True)
class RankedRemedy:
    """A remedy, its verdict, and the result of each seed."""

    remedy: Remedy
    verdict: str
    results: Sequence[RerunResult]

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return len(self.results)

    @property
    def healthy(self) -> int:
        """The number of healthy seeds."""
        return sum(each.severity == 0 for each in self.results)

    @property
    def learning(self) -> int:
        """The number of seeds that learn."""
        return sum(map(_learns, self.results))

    @property
    def severity(self) -> float:
        """The mean severity."""
        return sum(each.severity for each in self.results) / self.seeds

    @property
    def kinds(self) -> dict[str, int]:
        """The number of seeds with each kind of finding."""
        return dict(Counter(kind for each in self.results for kind in each.kinds))

    @property
    def decades(self) -> float:
        """The decades that the error signal gains from the last layer to the first, median."""
        return _median([each.decades for each in self.results])

    @property
    def losses(self) -> list[float]:
        """The final loss of each seed, in ascending order."""
        return sorted(map(final_loss, self.results))

    @property
    def loss(self) -> float:
        """The median of the final losses."""
        return _median(self.losses)

    def test(self, name: str) -> float:
        """Return the median of "loss" or "accuracy" on the test set; NaN if not measured."""
        values = [each.test.get(name) for each in self.results]
        return _median([math.nan if value is None else value for value in values])

    @property
    def error(self) -> str | None:
        """The error of the first seed that failed."""
        return next((each.error for each in self.results if each.error), None)


def rank(
    results: Sequence[RerunResult], unchanged: Remedy
) -> tuple[RankedRemedy, list[RankedRemedy]]:
    """Return the unchanged run, and the remedies, best first.

    They are ordered by verdict, then by loss rounded to two digits, then by severity, then by the
    decades that the error signal gains or loses.
    """
    by_remedy: dict[Remedy, list[RerunResult]] = {}
    for result in results:
        by_remedy.setdefault(result.remedy, []).append(result)
    base = RankedRemedy(unchanged, "unchanged", by_remedy.pop(unchanged))
    ranked = [RankedRemedy(remedy, "", group) for remedy, group in by_remedy.items()]
    ranked = [replace(each, verdict=_verdict(each, base)) for each in ranked]
    return base, sorted(ranked, key=_sort_key)


def _verdict(remedy: RankedRemedy, base: RankedRemedy) -> str:
    """Return the verdict on a remedy by the rules at the top of this file."""
    if remedy.severity == FAILED:
        return "failed"
    milder, more_severe = remedy.severity < base.severity, remedy.severity > base.severity
    lower, higher = is_lower(remedy, base), is_higher(remedy, base)
    learning, healthy = remedy.learning > remedy.seeds / 2, remedy.healthy > remedy.seeds / 2
    if healthy and learning and milder and not higher:
        return "works"
    if (milder or lower) == (more_severe or higher):
        return "no better"
    if more_severe or higher:
        return "worse"
    healthier = remedy.healthy / remedy.seeds > base.healthy / base.seeds
    return "helps" if learning or healthier else "no better"


def is_lower(remedy: RankedRemedy, base: RankedRemedy) -> bool:
    """Return whether a remedy's loss is below the loss of every unchanged seed."""
    return remedy.loss < base.losses[0] and not _is_near(remedy.loss, base.loss)


def is_higher(remedy: RankedRemedy, base: RankedRemedy) -> bool:
    """Return whether a remedy's loss is above the loss of every unchanged seed."""
    return remedy.loss > base.losses[-1] and not _is_near(remedy.loss, base.loss)


def final_loss(result: RerunResult) -> float:
    """Return the mean loss over the last tenth of the steps; infinite if it is not finite."""
    if not result.losses or "diverged" in result.kinds:
        return math.inf
    value = float(np.mean(result.losses[-max(1, len(result.losses) // 10) :]))
    return value if math.isfinite(value) else math.inf


def pair_remedies(
    ranked: Sequence[RankedRemedy], base: RankedRemedy, config: Config
) -> list[Remedy]:
    """Return pairs of the best remedies that change different keys.

    The first pairs combine the best remedy with proposals for findings that only it shows. For
    example, a wider dtype removes an underflow, and then the gradient vanishes.

    Args:
        ranked: the remedies, best first.
        base: the unchanged run.
        config: the run's configuration, keyed by dotted name.

    Returns:
        At most `MOST_PAIRS` pairs.
    """
    best = _independent([each.remedy for each in ranked if each.verdict not in ("worse", "failed")])
    if not best:
        return []
    new = _frequent_kinds(ranked[0]) - _frequent_kinds(base)
    proposed = [each for kind in sorted(new) for each in proposals(kind, config)]
    second = _independent([best[0], *valid_remedies(proposed, config)])[1:PAIRED]
    candidates = [(best[0], each) for each in second] + list(combinations(best[:PAIRED], 2))
    pairs = [
        Remedy((*a.overrides, *b.overrides), f"a pair: {a.reason}; {b.reason}", pair=True)
        for a, b in candidates
        if _compatible(*a.overrides, *b.overrides)
    ]
    return list({each.overrides: each for each in pairs}.values())[:MOST_PAIRS]


def _independent(remedies: Sequence[Remedy]) -> list[Remedy]:
    """Return the first remedies of which no two change the same key."""
    chosen: list[Remedy] = []
    for remedy in remedies:
        if not any(remedy.changed & other.changed for other in chosen):
            chosen.append(remedy)
    return chosen


def _compatible(*overrides: str) -> bool:
    """Return whether the chosen network, if any, has the keys of the other overrides."""
    values = dict(each.split("=", 1) for each in overrides)
    if values.get("model") not in choices.names("model"):
        return True
    present = choices.load("model", values["model"])
    return all(key.removeprefix("model.") in present for key in values if key.startswith("model."))


def _frequent_kinds(remedy: RankedRemedy) -> set[str]:
    """Return the kinds of findings in most seeds."""
    return {kind for kind, n in remedy.kinds.items() if n > remedy.seeds / 2}


def _is_near(loss: float, base: float) -> bool:
    finite = math.isfinite(loss) and math.isfinite(base)
    return finite and abs(loss - base) <= TOLERANCE * abs(base)


def _learns(result: RerunResult) -> bool:
    if not result.losses:
        return False
    start = min(result.losses[0], result.zero_loss)
    return math.isfinite(start) and final_loss(result) <= start - LEARNT * abs(start)


def _sort_key(remedy: RankedRemedy) -> tuple[float, ...]:
    size = math.inf if math.isnan(remedy.decades) else abs(remedy.decades)
    return VERDICTS.index(remedy.verdict), float(f"{remedy.loss:.2g}"), remedy.severity, size


def _median(values: Sequence[float]) -> float:
    known = sorted(value for value in values if not math.isnan(value))
    middle = len(known) // 2
    if not known:
        return math.nan
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
