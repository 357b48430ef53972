"""Experiments: the same training with one thing changed, where watching alone cannot tell."""

from math import isfinite
from statistics import fmean

from gradlab.examination.calls import Change
from gradlab.examination.finding import Finding
from gradlab.examination.rules.losses import logarithms
from gradlab.examination.subject import Subject
from gradlab.examination.trace import Backward, Clip, Fed, Loss, Trace, Update

LENGTH, LAST = 20, 5  # updates of a trial, and how many of its last losses are averaged
LONG = 60  # updates after which a large learning rate has settled, if it does
PEAK, LEAP = 3.0, 10.0  # of the first loss: a batch that is learnt does not go up so far
SEARCHING = ("LBFGS",)  # optimisers whose learning rate is no rate
RATES = 0.1, 0.01  # factors of the learning rate that are tried
RMS = 10.0  # of inputs, from which scaling them is tried
RATE = 0.3  # learning rate x samples, from which a summed loss is too much for plain descent
SMALL_GAIN = 1.4  # rms(W) sqrt(fan_in) that a trial cuts weights to


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


def rates(subject: Subject, trace: Trace, doubt: list[Finding]) -> list[Finding]:
    """Find what keeps one batch from being learnt: raw inputs, large weights, or the rate.

    `doubt` holds what a rule suspects of the weights; it is told only if smaller weights help.
    """
    updates = trace.all(Update)
    if len({each.optimizer for each in updates}) != 1 or updates[0].rule in SEARCHING:
        return []
    run = subject.run(LENGTH, same=True)
    losses = run.losses
    if not all(map(isfinite, losses)) and logarithms(run):
        return logarithms(run)
    if len(losses) < LAST or not losses[0] > 0 or min(losses) < 0:
        return []
    found = helped(subject, doubt, _end(losses)) or _inputs(subject, trace, losses)
    if not found and _is_sick(losses):
        found = _rate(subject, trace, losses)
    return found or _drifts(subject, trace)


def _is_sick(losses: list[float]) -> bool:
    """Say whether a batch that is seen again and again is not learnt, or by leaps only."""
    return not _end(losses) <= 0.5 * losses[0] or _leaps(losses)


def _leaps(losses: list[float], peak: float = PEAK) -> bool:
    """Say whether the loss leaves all bounds on its way."""
    return not all(map(isfinite, losses)) or max(losses) > peak * losses[0]


def _is_calm(losses: list[float]) -> bool:
    return all(map(isfinite, losses)) and max(losses, default=0.0) <= 1.5 * losses[0]


def helped(subject: Subject, doubt: list[Finding], end: float | None = None) -> list[Finding]:
    """Return what is suspected of large weights, if the loss falls further with smaller ones."""
    if not doubt:
        return []
    end = _end(subject.run(LENGTH, same=True).losses) if end is None else end
    other = _end(subject.run(LENGTH, Change(gain=SMALL_GAIN), same=True).losses)
    return doubt if other < 0.5 * end else []


def _inputs(subject: Subject, trace: Trace, losses: list[float]) -> list[Finding]:
    fed = next((e for e in trace.all(Fed) if e.rms > RMS), None)
    if fed is None:
        return []
    change, margin = Change(standardised=True), 0.5 if _is_sick(losses) else 0.1
    other = subject.run(LENGTH, change, same=True).losses
    if _is_sick(losses) and not _is_better(other, losses, margin):  # both may be slow at first
        losses = subject.run(LONG, same=True).losses
        other = subject.run(LONG, change, same=True).losses
    if not _is_better(other, losses, margin):
        return []
    return [
        Finding(
            "unscaled_inputs",
            "the inputs are not scaled",
            f"{fed.place}: {fed.place.code}",
            f"their rms is {fed.rms:.3g}; {_course(losses)}; with inputs of zero mean and unit "
            f"variance, {_course(other)}",
            "x = (x - mean) / std, feature by feature, with the training set's mean and std",
        )
    ]


def _is_better(other: list[float], losses: list[float], margin: float) -> bool:
    further = _end(other) < margin * _end(losses)
    if not _is_sick(losses):  # then only if it also falls by more, from where it starts
        further = further and _end(other) / other[0] < _end(losses) / losses[0]
    return _is_calm(other) and (further or _leaps(losses))


def _drifts(subject: Subject, trace: Trace) -> list[Finding]:
    """Find a rate at which one batch is learnt, and what was learnt of the others undone."""
    losses: list[float] = []
    for updates in (LENGTH, LONG) if subject.is_varied else ():
        losses = subject.run(updates).losses
        if len(losses) < LAST or min(losses) < 0 or not _end(losses) > LEAP * losses[0]:
            return []
    return _rate(subject, trace, losses, same=False) if losses else []


def _rate(
    subject: Subject, trace: Trace, losses: list[float], *, same: bool = True
) -> list[Finding]:
    first = trace.all(Update)[0]
    if not _leaps(losses, LEAP):  # an overshoot at the start may pass
        losses = subject.run(LONG, same=same).losses
        if not (_leaps(losses, LEAP) or _end(losses) > 0.9 * losses[0]):
            return []
    start, end = losses[0], _end(losses)
    bound = 0.9 * start if _leaps(losses, LEAP) else min(0.9 * start, 0.8 * end)
    for factor in RATES:
        other = subject.run(LENGTH, Change(lr=factor), same=same).losses
        if _end(other) < bound and _is_calm(other):
            return [
                Finding(
                    "learning_rate",
                    f"the learning rate {first.lr:g} is too large",
                    f"{first.place}: {first.place.code}",
                    f"{_course(losses)}; with {factor:g} times the rate, {_course(other)}",
                    f"lr={first.lr * factor:g}",
                )
            ]
    return []


def _course(losses: list[float]) -> str:
    """Tell the course of the losses in a trial."""
    peak = max((x for x in losses if isfinite(x)), default=0.0)
    by = f" by way of {peak:.3g}" if peak > PEAK * losses[0] else ""
    return f"{len(losses)} updates take the loss from {losses[0]:.3g}{by} to {_end(losses):.3g}"


def _end(losses: list[float]) -> float:
    """Return the mean of the last losses; infinity if one is not finite."""
    last = losses[-LAST:]
    return fmean(last) if losses and all(map(isfinite, losses)) else float("inf")


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
