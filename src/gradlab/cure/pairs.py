"""The second round, where no remedy cures a run alone: pairs."""

from collections.abc import Sequence
from itertools import combinations

from gradlab.config import choices
from gradlab.cure.offers import Config, offers
from gradlab.cure.ranking import Rank
from gradlab.cure.remedies import Remedy, usable

FEW = 4  # of which there are 6 pairs
MOST = 6


def pairs(ranks: Sequence[Rank], base: Rank, config: Config) -> list[Remedy]:
    """Return pairs of the best remedies, one of each subject.

    The first few are of the best one and of what its trials propose, if it leaves a sickness that
    the unchanged run does not show: a wider number format may lay bare that the gradient vanishes.

    Args:
        ranks: the remedies, best first.
        base: the run, unchanged.
        config: the run's, flat.
    """
    best = _apart([each.remedy for each in ranks if each.verdict not in ("worse", "failed")])
    if not best:
        return []
    new = _mostly(ranks[0]) - _mostly(base)
    offered = usable((each for kind in sorted(new) for each in offers(kind, config)), config)
    bared = _apart([best[0], *offered])[1:FEW]
    known = [(best[0], each) for each in bared] + list(combinations(best[:FEW], 2))
    both = [
        Remedy((*a.overrides, *b.overrides), f"a pair: {a.reason}; {b.reason}", pair=True)
        for a, b in known
        if _go_together(*a.overrides, *b.overrides)
    ]
    return list({each.overrides: each for each in both}.values())[:MOST]


def _apart(remedies: Sequence[Remedy]) -> list[Remedy]:
    """Return remedies of which no two change the same, in order."""
    kept: list[Remedy] = []
    for remedy in remedies:
        if not any(remedy.subjects & other.subjects for other in kept):
            kept.append(remedy)
    return kept


def _go_together(*overrides: str) -> bool:
    """Say whether the network that is chosen, if one is, has the keys that are set beside it."""
    values = dict(each.split("=", 1) for each in overrides)
    if values.get("model") not in choices.names("model"):
        return True
    has = choices.load("model", values["model"])
    return all(key.removeprefix("model.") in has for key in values if key.startswith("model."))


def _mostly(found: Rank) -> set[str]:
    """Return the kinds of findings that are there in most seeds."""
    return {kind for kind, n in found.left.items() if n > found.seeds / 2}
