"""Experiments: the same training with one thing changed, where watching alone cannot tell."""

from math import isfinite

from gradlab.debugger.experiments.loss_curve import (
    LAST,
    course,
    final,
    is_better,
    is_calm,
    is_sick,
    leaps,
)
from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.module_calls import Change
from gradlab.debugger.observe.trace import Fed, Trace, Update
from gradlab.debugger.rules.losses import logarithms
from gradlab.debugger.targets.training import Subject

LENGTH = 20  # updates of a trial
LONG = 60  # updates after which a large learning rate has settled, if it does
LEAP = 10.0  # of the first loss: not even an overshoot at the start, which may pass
SEARCHING = ("LBFGS",)  # optimisers whose learning rate is no rate
RATES = 0.1, 0.01  # factors of the learning rate that are tried
RMS = 10.0  # of inputs, from which scaling them is tried
SMALL_GAIN = 1.4  # rms(W) sqrt(fan_in) that a trial cuts weights to


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
    found = helped(subject, doubt, final(losses)) or _inputs(subject, trace, losses)
    if not found and is_sick(losses):
        found = _rate(subject, trace, losses)
    return found or _drifts(subject, trace)


def helped(subject: Subject, doubt: list[Finding], end: float | None = None) -> list[Finding]:
    """Return what is suspected of large weights, if the loss falls further with smaller ones."""
    if not doubt:
        return []
    end = final(subject.run(LENGTH, same=True).losses) if end is None else end
    other = final(subject.run(LENGTH, Change(gain=SMALL_GAIN), same=True).losses)
    return doubt if other < 0.5 * end else []


def _inputs(subject: Subject, trace: Trace, losses: list[float]) -> list[Finding]:
    fed = next((e for e in trace.all(Fed) if e.rms > RMS), None)
    if fed is None:
        return []
    change, margin = Change(standardised=True), 0.5 if is_sick(losses) else 0.1
    other = subject.run(LENGTH, change, same=True).losses
    if is_sick(losses) and not is_better(other, losses, margin):  # both may be slow at first
        losses = subject.run(LONG, same=True).losses
        other = subject.run(LONG, change, same=True).losses
    if not is_better(other, losses, margin):
        return []
    return [
        Finding(
            "unscaled_inputs",
            "the inputs are not scaled",
            f"{fed.place}: {fed.place.code}",
            f"their rms is {fed.rms:.3g}; {course(losses)}; with inputs of zero mean and unit "
            f"variance, {course(other)}",
            "x = (x - mean) / std, feature by feature, with the training set's mean and std",
        )
    ]


def _drifts(subject: Subject, trace: Trace) -> list[Finding]:
    """Find a rate at which one batch is learnt, and what was learnt of the others undone."""
    losses: list[float] = []
    for updates in (LENGTH, LONG) if subject.is_varied else ():
        losses = subject.run(updates).losses
        if len(losses) < LAST or min(losses) < 0 or not final(losses) > LEAP * losses[0]:
            return []
    return _rate(subject, trace, losses, same=False) if losses else []


def _rate(
    subject: Subject, trace: Trace, losses: list[float], *, same: bool = True
) -> list[Finding]:
    first = trace.all(Update)[0]
    if not leaps(losses, LEAP):  # an overshoot at the start may pass
        losses = subject.run(LONG, same=same).losses
        if not (leaps(losses, LEAP) or final(losses) > 0.9 * losses[0]):
            return []
    start, end = losses[0], final(losses)
    bound = 0.9 * start if leaps(losses, LEAP) else min(0.9 * start, 0.8 * end)
    for factor in RATES:
        other = _until(subject, bound, Change(lr=factor), same=same)
        if final(other) < bound and is_calm(other):
            return [
                Finding(
                    "learning_rate",
                    f"the learning rate {first.lr:g} is too large",
                    f"{first.place}: {first.place.code}",
                    f"{course(losses)}; with {factor:g} times the rate, {course(other)}",
                    f"lr={first.lr * factor:g}",
                )
            ]
    return []


def _until(subject: Subject, bound: float, change: Change, *, same: bool) -> list[float]:
    """Return the losses of a trial, a long one if that falls below no bound and may yet do so."""
    losses = subject.run(LENGTH, change, same=same).losses
    if final(losses) < bound or not is_calm(losses):
        return losses
    return subject.run(LONG, change, same=same).losses
