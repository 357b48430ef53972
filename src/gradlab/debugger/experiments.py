"""Experiments: run a training again with one change, and compare the losses."""

from collections import Counter
from math import isfinite
from statistics import fmean

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import (
    BackwardPass,
    GradientClip,
    LossCall,
    LossTerm,
    ModelInput,
    OptimizerStep,
)
from gradlab.debugger.observe.module_calls import Intervention
from gradlab.debugger.observe.source_lines import SourceLine
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.trainings import Experiments

SHORT = 20  # steps of an experiment
LONG = 60  # steps of a second run, if the loss may still fall
LAST = 5  # number of losses in the mean at the end
PEAK = 3.0  # times the first loss: a peak that a successful training does not reach
LEAP = 10.0  # times the first loss: a peak above an overshoot of the first steps
SEARCHING = ("LBFGS",)  # optimisers that search for their step length
RATES = 0.1, 0.01  # tried factors of the learning rate
INPUT_RMS = 10.0  # root mean square of inputs above which they are tried standardised
SMALL_GAIN = 1.4  # rms(W)·√fan_in of the shrunk weights
SUM_RATE = 0.3  # learning rate x samples above which plain SGD with a summed loss is too fast
MIN_LOSSES = 8  # losses of one line; a smaller number may be intended


def find_learning_problem(
    training: Experiments, trace: Trace, suspected: list[CodeFinding]
) -> list[CodeFinding]:
    """Find the reason why a training does not learn one batch: inputs, weights or learning rate.

    Args:
        training: the training.
        trace: the trace of its first run.
        suspected: findings about large weights, returned only if smaller weights help.

    Returns:
        At most one finding.
    """
    updates = trace.all(OptimizerStep)
    if len({each.optimizer for each in updates}) != 1 or updates[0].rule in SEARCHING:
        return []
    run = training.run(SHORT, one_batch=True)
    losses = run.losses
    if not all(map(isfinite, losses)) and run.zero_logarithms:
        return run.zero_logarithms
    if len(losses) < LAST or not losses[0] > 0 or min(losses) < 0:
        return []
    found = confirm_large_weights(training, suspected, final_loss(losses))
    found = found or _find_unscaled_inputs(training, trace, losses)
    if not found and fails_to_learn(losses):
        found = _find_large_rate(training, trace, losses)
    return found or _find_divergence(training, trace)


def confirm_large_weights(
    training: Experiments, suspected: list[CodeFinding], end: float | None = None
) -> list[CodeFinding]:
    """Return the suspected findings if the loss falls further with smaller weights.

    Args:
        training: the training.
        suspected: findings about large weights.
        end: the final loss with the original weights; None if it is unknown.

    Returns:
        All suspected findings, or none.
    """
    if not suspected:
        return []
    end = final_loss(training.run(SHORT, one_batch=True).losses) if end is None else end
    other = final_loss(training.run(SHORT, Intervention(gain=SMALL_GAIN), one_batch=True).losses)
    return suspected if other < 0.5 * end else []


def _find_unscaled_inputs(
    training: Experiments, trace: Trace, losses: list[float]
) -> list[CodeFinding]:
    """Find inputs with a large scale, if the training learns better with standardised inputs.

    Args:
        training: the training.
        trace: the trace of its first run.
        losses: the losses of one repeated batch with the original inputs.

    Returns:
        At most one finding.
    """
    large = next((e for e in trace.all(ModelInput) if e.rms > INPUT_RMS), None)
    if large is None:
        return []
    change, margin = Intervention(standardised=True), 0.5 if fails_to_learn(losses) else 0.1
    other = training.run(SHORT, change, one_batch=True).losses
    if fails_to_learn(losses) and not is_better(other, losses, margin):  # both may be slow
        losses = training.run(LONG, one_batch=True).losses
        other = training.run(LONG, change, one_batch=True).losses
    if not is_better(other, losses, margin):
        return []
    return [
        CodeFinding(
            "unscaled_inputs",
            "the inputs are not scaled",
            f"{large.line}: {large.line.code}",
            f"their rms is {large.rms:.3g}; {describe(losses)}; with inputs of zero mean and unit "
            f"variance, {describe(other)}",
            "x = (x - mean) / std, feature by feature, with the training set's mean and std",
        )
    ]


def _find_divergence(training: Experiments, trace: Trace) -> list[CodeFinding]:
    """Find a learning rate at which the loss over several batches explodes."""
    losses: list[float] = []
    for steps in (SHORT, LONG) if training.has_several_batches else ():
        losses = training.run(steps).losses
        if len(losses) < LAST or min(losses) < 0 or not final_loss(losses) > LEAP * losses[0]:
            return []
    return _find_large_rate(training, trace, losses, one_batch=False) if losses else []


def _find_large_rate(
    training: Experiments, trace: Trace, losses: list[float], *, one_batch: bool = True
) -> list[CodeFinding]:
    """Find a learning rate that is too large, if the loss falls with a smaller rate.

    Args:
        training: the training.
        trace: the trace of its first run.
        losses: the losses with the original rate.
        one_batch: whether to train on one batch only.

    Returns:
        At most one finding.
    """
    first = trace.all(OptimizerStep)[0]
    if not leaps(losses, LEAP):  # a smaller overshoot of the first steps may be harmless
        losses = training.run(LONG, one_batch=one_batch).losses
        if not (leaps(losses, LEAP) or final_loss(losses) > 0.9 * losses[0]):
            return []
    start, end = losses[0], final_loss(losses)
    bound = 0.9 * start if leaps(losses, LEAP) else min(0.9 * start, 0.8 * end)
    for factor in RATES:
        other = _run_until_below(bound, training, Intervention(lr=factor), one_batch=one_batch)
        if final_loss(other) < bound and is_calm(other):
            return [
                CodeFinding(
                    "learning_rate",
                    f"the learning rate {first.lr:g} is too large",
                    f"{first.line}: {first.line.code}",
                    f"{describe(losses)}; with {factor:g} times the rate, {describe(other)}",
                    f"lr={first.lr * factor:g}",
                )
            ]
    return []


def _run_until_below(
    bound: float, training: Experiments, intervention: Intervention, *, one_batch: bool
) -> list[float]:
    """Return the losses of a short run, or of a long run if the short run ends above a bound.

    Args:
        bound: the bound of the final loss.
        training: the training.
        intervention: the change.
        one_batch: whether to train on one batch only.

    Returns:
        The losses.
    """
    losses = training.run(SHORT, intervention, one_batch=one_batch).losses
    if final_loss(losses) < bound or not is_calm(losses):
        return losses
    return training.run(LONG, intervention, one_batch=one_batch).losses


def find_summed_loss(training: Experiments, trace: Trace) -> list[CodeFinding]:
    """Find a loss that is a sum over samples: repeated samples make the update longer."""
    updates = trace.all(OptimizerStep)
    if not updates or trace.all(GradientClip):
        return []
    first, found = updates[0], _detect_sum_by_repetition(training) or _detect_sum_in_graph(trace)
    if found is None:
        return _find_sum_in_loop(training, trace)
    n, evidence = found
    rate = first.lr * n / max(1 - first.momentum, 1e-3)
    if rate < SUM_RATE and not _overshoots(trace):
        return []
    line = next(iter(trace.all(LossCall) or trace.all(BackwardPass) or updates)).line
    return [_sum_finding(line, "the batch", evidence, first.lr, n)]


def _sum_finding(line: SourceLine, over: str, evidence: str, lr: float, n: int) -> CodeFinding:
    """Return the finding of a summed loss.

    Args:
        line: the line of the loss.
        over: the terms of the sum, in words.
        evidence: the observation.
        lr: the learning rate.
        n: the number of terms.

    Returns:
        The finding.
    """
    return CodeFinding(
        "summed_loss",
        f"the loss is a sum over {over}: the step grows with its size",
        f"{line}: {line.code}",
        f"{evidence}; with a mean, the learning rate {lr:g} would be {lr * n:g}",
        'reduction="mean", or the sum divided by the number of its terms',
    )


def _detect_sum_by_repetition(training: Experiments) -> tuple[int, str] | None:
    """Return the number of samples and the evidence, if repeated samples make updates longer."""
    moved: list[float] = []
    for times in (1, 2, 4):
        outcome = training.run_repeated(times) if training.samples else None
        if outcome is None or not outcome.first_update:
            return None
        moved.append(outcome.first_update)
    two, four = (each / moved[0] for each in moved[1:])
    if not (1.9 < two < 2.1 and 3.7 < four < 4.3):
        return None
    evidence = f"each sample twice in a batch makes the update {two:.2f} times as long, four times"
    return training.samples, f"{evidence} {four:.2f}: with a mean, it would stay the same"


def _detect_sum_in_graph(trace: Trace) -> tuple[int, str] | None:
    """Return the number of samples and the evidence, if the loss of plain SGD is a bare sum."""
    terms = [each for one in trace.all(BackwardPass) for each in one.terms]
    if any(each.is_mean and abs(each.derivative) > 0.1 for each in terms):
        return None
    sums = [each for each in terms if not each.is_mean and each.samples > 1 and _is_bare(each)]
    if not sums or trace.all(OptimizerStep)[0].rule != "SGD":
        return None
    n = max(each.samples for each in sums)
    return n, f"backward starts from a sum over {n} samples, with the factor 1"


def _is_bare(term: LossTerm) -> bool:
    """Return whether the loss contains the term with the factor 1."""
    return abs(term.derivative - 1) < 1e-6


def _find_sum_in_loop(training: Experiments, trace: Trace) -> list[CodeFinding]:
    """Find losses that a loop adds, if the training diverges and does not with their mean.

    Sums over time steps or over several losses are common, so a harmless sum is not a finding.

    Returns:
        The findings, one per line of code.
    """
    first = trace.all(OptimizerStep)[0]
    n, line = _losses_of_one_line(trace)
    if line is None or n < MIN_LOSSES or first.rule != "SGD" or not _overshoots(trace):
        return []
    losses = training.run(SHORT).losses
    if not leaps(losses) or final_loss(losses) <= losses[0]:
        return []
    other = training.run(SHORT, Intervention(lr=1 / n)).losses
    if not other or not is_calm(other):
        return []
    evidence = f"{n} losses of this line are added with the factor 1; {describe(losses)}; with the "
    evidence += f"rate divided by {n}, {describe(other)}"
    return [_sum_finding(line, "a loop", evidence, first.lr, n)]


def _losses_of_one_line(trace: Trace) -> tuple[int, SourceLine | None]:
    """Return the smallest number of losses of one line in a backward pass, and the line."""
    counts = [
        Counter(each.line for each in one.terms if each.line and _is_bare(each))
        for one in trace.all(BackwardPass)
    ]
    if not counts or not all(counts):
        return 0, None
    line = counts[0].most_common(1)[0][0]
    return min(each[line] for each in counts), line


def _overshoots(trace: Trace) -> bool:
    """Return whether the loss doubles, or is not finite, in the observed steps."""
    losses = trace.losses
    return not all(map(isfinite, losses)) or (len(losses) > 2 and losses[-1] > 2 * losses[0])


def final_loss(losses: list[float]) -> float:
    """Return the mean of the last losses; infinity if a loss is not finite."""
    last = losses[-LAST:]
    return fmean(last) if losses and all(map(isfinite, losses)) else float("inf")


def fails_to_learn(losses: list[float]) -> bool:
    """Return whether the loss of one repeated batch does not halve, or leaps."""
    return not final_loss(losses) <= 0.5 * losses[0] or leaps(losses)


def leaps(losses: list[float], peak: float = PEAK) -> bool:
    """Return whether the loss exceeds `peak` times its first value, or is not finite."""
    return not all(map(isfinite, losses)) or max(losses) > peak * losses[0]


def is_calm(losses: list[float]) -> bool:
    """Return whether the loss never exceeds 1.5 times its first value."""
    return all(map(isfinite, losses)) and max(losses, default=0.0) <= 1.5 * losses[0]


def is_better(other: list[float], losses: list[float], margin: float) -> bool:
    """Return whether one run is calm and ends lower than another run.

    Args:
        other: the losses of the run that may be better; empty if the run failed.
        losses: the losses of the run to compare with.
        margin: the largest ratio of both final losses.

    Returns:
        True if `other` is better.
    """
    if not other:
        return False
    further = final_loss(other) < margin * final_loss(losses)
    if not fails_to_learn(losses):  # then it must also fall by a larger factor
        further = further and final_loss(other) / other[0] < final_loss(losses) / losses[0]
    return is_calm(other) and (further or leaps(losses))


def describe(losses: list[float]) -> str:
    """Return a sentence about the losses of a run."""
    peak = max((x for x in losses if isfinite(x)), default=0.0)
    between = f" through a peak of {peak:.3g}" if peak > PEAK * losses[0] else ""
    first, last = f"{losses[0]:.3g}", f"{final_loss(losses):.3g}"
    return f"{len(losses)} updates take the loss from {first}{between} to {last}"
