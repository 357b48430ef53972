"""The second round: pairs of what did best alone."""

from collections.abc import Sequence
from itertools import combinations

from gradlab.cure.ranking import Rank
from gradlab.cure.remedies import Remedy

FEW = 4  # of which there are 6 pairs


def pairs(ranks: Sequence[Rank]) -> list[Remedy]:
    """Return pairs of the best remedies, one of each subject, best first."""
    best: list[Remedy] = []
    for each in ranks:
        taken = set[str]().union(*(remedy.subjects for remedy in best))
        if each.verdict not in ("worse", "failed") and not each.remedy.subjects & taken:
            best.append(each.remedy)
    return [
        Remedy((*a.overrides, *b.overrides), f"a pair: {a.reason}; {b.reason}", pair=True)
        for a, b in combinations(best[:FEW], 2)
    ]
