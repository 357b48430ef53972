"""A loss that is summed over the samples, found by giving the same samples twice."""

from math import isfinite

from gradlab.examination.finding import Finding
from gradlab.examination.subject import Subject
from gradlab.examination.trace import Backward, Clip, Loss, Trace, Update

RATE = 0.3  # learning rate x samples, from which a summed loss is too much for plain descent


def summed(subject: Subject, trace: Trace) -> list[Finding]:
    """Find a loss that is a sum over samples: the same ones twice move weights twice as far."""
    updates = trace.all(Update)
    if not updates or trace.all(Clip):
        return []
    first, found = updates[0], _by_doubling(subject) or _by_graph(trace)
    if found is None:
        return []
    n, seen = found
    rate = first.lr * n / max(1 - first.momentum, 1e-3)
    if rate < RATE and not _overshoots(trace):
        return []
    where = next(iter(trace.all(Loss) or trace.all(Backward) or updates)).place
    return [
        Finding(
            "summed_loss",
            "the loss is a sum over the batch: the step grows with the batch's size",
            f"{where}: {where.code}",
            f"{seen}; with a mean, the learning rate {first.lr:g} would be {first.lr * n:g}",
            'reduction="mean", or the sum divided by len(x)',
        )
    ]


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
    sums = [f for f in factors if not f.is_mean and f.samples > 1 and abs(f.value - 1) < 1e-6]
    if not sums or trace.all(Update)[0].rule != "SGD":
        return None
    n = max(each.samples for each in sums)
    return n, f"backward starts from a sum over {n} samples, with the factor 1"


def _overshoots(trace: Trace) -> bool:
    """Say whether the loss goes up, or out of range, in the updates that were watched."""
    losses = trace.losses
    return not all(map(isfinite, losses)) or (len(losses) > 2 and losses[-1] > 2 * losses[0])
