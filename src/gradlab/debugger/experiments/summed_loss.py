"""A loss that is summed over the samples, found by giving the same samples twice."""

from collections import Counter
from math import isfinite

from gradlab.debugger.experiments.loss_curve import course, final, is_calm, leaps
from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.module_calls import Change
from gradlab.debugger.observe.source_lines import Place
from gradlab.debugger.observe.trace import Backward, Clip, Factor, Loss, Trace, Update
from gradlab.debugger.targets.training import Subject

RATE = 0.3  # learning rate x samples, from which a summed loss is too much for plain descent
LENGTH = 20  # updates of a trial
MANY = 8  # losses of one line; a few may have an aim each


def summed(subject: Subject, trace: Trace) -> list[Finding]:
    """Find a loss that is a sum over samples: the same ones twice move weights twice as far."""
    updates = trace.all(Update)
    if not updates or trace.all(Clip):
        return []
    first, found = updates[0], _by_doubling(subject) or _by_graph(trace)
    if found is None:
        return _one_by_one(subject, trace)
    n, seen = found
    rate = first.lr * n / max(1 - first.momentum, 1e-3)
    if rate < RATE and not _overshoots(trace):
        return []
    where = next(iter(trace.all(Loss) or trace.all(Backward) or updates)).place
    return [_finding(where, "the batch", seen, first.lr, n)]


def _finding(where: Place, over: str, seen: str, lr: float, n: int) -> Finding:
    return Finding(
        "summed_loss",
        f"the loss is a sum over {over}: the step grows with its size",
        f"{where}: {where.code}",
        f"{seen}; with a mean, the learning rate {lr:g} would be {lr * n:g}",
        'reduction="mean", or the sum divided by the number of its terms',
    )


def _by_doubling(subject: Subject) -> tuple[int, str] | None:
    """Return the number of samples and what was seen, if more of the same move weights further."""
    traces = [subject.doubled(times) for times in (1, 2, 4)]
    moved = [u.moved for t in traces if t is not None and not t.failure for u in t.all(Update)[:1]]
    if len(moved) < len(traces) or not moved[0]:
        return None
    two, four = (each / moved[0] for each in moved[1:])
    if not (1.9 < two < 2.1 and 3.7 < four < 4.3):
        return None
    seen = f"the same samples twice in a batch move the weights {two:.2f} times as far, four times"
    return subject.samples, f"{seen} {four:.2f}: a mean would move them as far as once"


def _by_graph(trace: Trace) -> tuple[int, str] | None:
    """Return the number of samples and what was seen, if plain descent follows a bare sum."""
    factors = [each for one in trace.all(Backward) for each in one.factors]
    if any(each.is_mean and abs(each.value) > 0.1 for each in factors):
        return None
    sums = [f for f in factors if not f.is_mean and f.samples > 1 and _is_bare(f)]
    if not sums or trace.all(Update)[0].rule != "SGD":
        return None
    n = max(each.samples for each in sums)
    return n, f"backward starts from a sum over {n} samples, with the factor 1"


def _is_bare(factor: Factor) -> bool:
    """Say whether the loss goes up by as much as this part of it."""
    return abs(factor.value - 1) < 1e-6


def _one_by_one(subject: Subject, trace: Trace) -> list[Finding]:
    """Find losses of one line that a loop adds up, if the training bears their mean, not their sum.

    Sums over time steps, or of several aims, are meant: only where they do harm are they told.
    """
    first = trace.all(Update)[0]
    n, where = _added(trace)
    if where is None or n < MANY or first.rule != "SGD" or not _overshoots(trace):
        return []
    losses = subject.run(LENGTH).losses
    if not leaps(losses) or final(losses) <= losses[0]:
        return []
    other = subject.run(LENGTH, Change(lr=1 / n)).losses
    if not other or not is_calm(other):
        return []
    seen = f"{n} losses of this line are added up with the factor 1; {course(losses)}; with the "
    seen += f"rate divided by {n}, {course(other)}"
    return [_finding(where, "a loop", seen, first.lr, n)]


def _added(trace: Trace) -> tuple[int, Place | None]:
    """Return how many losses of one line every backward pass adds up, the fewest, and the line."""
    counts = [
        Counter(each.place for each in one.factors if each.place and _is_bare(each))
        for one in trace.all(Backward)
    ]
    if not counts or not all(counts):
        return 0, None
    where = counts[0].most_common(1)[0][0]
    return min(each[where] for each in counts), where


def _overshoots(trace: Trace) -> bool:
    """Say whether the loss goes up, or out of range, in the updates that were watched."""
    losses = trace.losses
    return not all(map(isfinite, losses)) or (len(losses) > 2 and losses[-1] > 2 * losses[0])
