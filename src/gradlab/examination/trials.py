"""Experiments: the same training with one thing changed, where watching alone cannot tell."""

from math import isfinite
from statistics import fmean

from gradlab.examination.finding import Finding
from gradlab.examination.rules.losses import logarithms
from gradlab.examination.subject import Subject
from gradlab.examination.trace import Backward, Clip, Fed, Loss, Trace, Update
from gradlab.examination.watch import Change

LENGTH, LAST = 20, 5  # updates of a trial, and how many of its last losses are averaged
RMS = 10.0  # of inputs, from which scaling them is tried
RATE = 0.3  # learning rate x samples, from which a summed loss is too much for plain descent
SMALL_GAIN = 1.4  # rms(W) sqrt(fan_in) that a trial cuts weights to


def summed(subject: Subject, trace: Trace) -> list[Finding]:
    """A loss that is a sum over samples: the same samples twice move the weights twice as far."""
    updates, n = trace.all(Update), _samples(trace)
    if not updates or n < 2 or trace.all(Clip):
        return []
    first = updates[0]
    moved = _moved(subject)
    if moved is None:
        by_graph = first.rule == "SGD" and _is_sum(trace)
        seen = "backward starts from a sum over all samples, with the factor 1"
    else:
        one, two, four = moved
        by_graph = one > 0 and 1.9 < two / one < 2.1 and 3.7 < four / one < 4.3
        seen = (
            f"the same {n} samples twice in a batch move the weights {two / max(one, 1e-300):.2f} "
            f"times as far, four times {four / max(one, 1e-300):.2f}: a mean would move them as far"
        )
    rate = first.lr * n / max(1 - first.momentum, 1e-3)
    if not by_graph or (rate < RATE and not _overshoots(trace)):
        return []
    place = trace.all(Backward)[0].place
    loss = next((each for each in trace.all(Loss)), None)
    where = loss.place if loss else place
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
    """What keeps one batch from being learnt: raw inputs, large weights, or the learning rate.

    `doubt` holds what a rule suspects of the weights; it is told only if smaller weights help.
    """
    if len({each.optimizer for each in trace.all(Update)}) != 1:
        return []
    run = subject.run(LENGTH, same=True)
    losses = run.losses
    if not all(map(isfinite, losses)) and logarithms(run):
        return logarithms(run)
    if len(losses) < LAST or not losses[0] > 0 or min(losses) < 0:
        return []
    start, end = losses[0], _end(losses)
    found = helped(subject, doubt, end)
    if found or end < 0.5 * start:
        return found
    return _inputs(subject, trace, end) or _rate(subject, trace, start, end)


def helped(subject: Subject, doubt: list[Finding], end: float | None = None) -> list[Finding]:
    """Return what is suspected of large weights, if the loss falls further with smaller ones."""
    if not doubt:
        return []
    end = _end(subject.run(LENGTH, same=True).losses) if end is None else end
    other = _end(subject.run(LENGTH, Change(gain=SMALL_GAIN), same=True).losses)
    return doubt if other < 0.5 * end else []


def _inputs(subject: Subject, trace: Trace, end: float) -> list[Finding]:
    fed = next((e for e in trace.all(Fed) if e.rms > RMS), None)
    if fed is None:
        return []
    other = _end(subject.run(LENGTH, Change(standardised=True), same=True).losses)
    if not other < 0.5 * end:
        return []
    return [
        Finding(
            "unscaled_inputs",
            "the inputs are not scaled",
            f"{fed.place}: {fed.place.code}",
            f"their rms is {fed.rms:.3g}; after {LENGTH} updates on one batch the loss is {end:.3g}, with inputs of zero mean "
            f"and unit variance {other:.3g}",
            "x = (x - mean) / std, feature by feature, with the training set's mean and std",
        )
    ]


def _rate(subject: Subject, trace: Trace, start: float, end: float) -> list[Finding]:
    other = _end(subject.run(LENGTH, Change(lr=0.1), same=True).losses)
    rises = end > start and other < 0.9 * start
    if not rises and not (other < 0.5 * end and other < 0.7 * start):
        return []
    first = trace.all(Update)[0]
    return [
        Finding(
            "learning_rate",
            f"the learning rate {first.lr:g} is too large",
            f"{first.place}: {first.place.code}",
            f"on one batch, {LENGTH} updates take the loss from {start:.3g} to {end:.3g}; with a "
            f"tenth of the rate to {other:.3g}",
            f"lr={first.lr / 10:g}",
        )
    ]


def _end(losses: list[float]) -> float:
    """Return the mean of the last losses; infinity if one is not finite."""
    last = losses[-LAST:]
    return fmean(last) if losses and all(map(isfinite, losses)) else float("inf")


def _moved(subject: Subject) -> tuple[float, float, float] | None:
    """Return how far one update goes on a batch taken once, twice and four times."""
    found: list[float] = []
    for times in (1, 2, 4):
        trace = subject.doubled(times)
        if trace is None or trace.failure is not None or not trace.all(Update):
            return None
        found.append(trace.all(Update)[0].moved)
    return found[0], found[1], found[2]


def _samples(trace: Trace) -> int:
    return next((each.shapes[0][0] for each in trace.all(Loss) if each.shapes[0]), 0)


def _is_sum(trace: Trace) -> bool:
    passes = trace.all(Backward)
    sums = [any(not m and abs(f - 1) < 1e-6 for m, f in each.factors) for each in passes]
    means = [any(m and abs(f) > 0.1 for m, f in each.factors) for each in passes]
    return bool(passes) and all(sums) and not any(means)


def _overshoots(trace: Trace) -> bool:
    """Say whether the loss goes up, or out of range, in the updates that were watched."""
    losses = trace.losses
    return not all(map(isfinite, losses)) or (len(losses) > 2 and losses[-1] > 2 * losses[0])
