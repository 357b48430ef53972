"""Findings of several seeds as one: how many show it, and how sure that makes one."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from gradlab.diagnosis.finding import Finding
from gradlab.schema import KINDS

LEVEL = 0.9  # of the interval


def pooled(runs: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Return one finding of each kind that any run shows, gravest first, with its confidence.

    It speaks for the run in which it is of median size; the interval (Jeffreys, 90%) of the share
    of seeds that would show it is in its evidence. The order of the runs changes nothing.
    """
    out: list[Finding] = []
    for kind, axis in product(KINDS, ("depth", "time")):
        shown = [next((f for f in run if (f.kind, f.axis) == (kind, axis)), None) for run in runs]
        found = sorted((f for f in shown if f is not None), key=_size)
        if not found:
            continue
        share = len(found) / len(runs)
        low, high = interval(len(found), len(runs))
        typical = found[(len(found) - 1) // 2]
        evidence = {**typical.evidence, "seeds": float(len(runs)), "low": low, "high": high}
        out.append(replace(typical, evidence=evidence, confidence=share))
    return out


def interval(shown: int, runs: int) -> tuple[float, float]:
    """Return the Jeffreys interval of a share (Brown, Cai & DasGupta 2001, section 3.1)."""
    from scipy.special import betaincinv  # here, for one run has no use for it

    tail = (1 - LEVEL) / 2
    a, b = shown + 0.5, runs - shown + 0.5
    low, high = (float(betaincinv(a, b, q)) for q in (tail, 1 - tail))
    return (0.0 if shown == 0 else low), (1.0 if shown == runs else high)


def _size(finding: Finding) -> tuple[object, ...]:
    """Order findings of one kind by their evidence, and by what else tells them apart."""
    return (*(abs(v) for v in finding.evidence.values()), finding.since, finding.cause)
