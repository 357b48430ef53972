"""Experiments: the same training with one thing changed, where observation alone is not enough."""

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
from gradlab.debugger.rules.loss_inputs import logarithms
from gradlab.debugger.targets import Training

SHORT = 20  # steps of an experiment
LONG = 60  # steps after which a large learning rate has settled, if it ever does
LAST = 5  # losses that are averaged at the end
PEAK = 3.0  # of the first loss: a batch that is learnt stays below
LEAP = 10.0  # of the first loss: more than an overshoot in the first steps, which may pass
SEARCHING = ("LBFGS",)  # optimisers that search for their step length
RATES = 0.1, 0.01  # factors of the learning rate that are tried
INPUT_RMS = 10.0  # of inputs, from which standardising them is tried
SMALL_GAIN = 1.4  # rms(W)·√fan_in to which weights are shrunk
SUM_RATE = 0.3  # learning rate x samples, from which a summed loss is too large for plain SGD
MANY = 8  # losses of one line; fewer may have a purpose each


def find_learning_problem(
    training: Training, trace: Trace, suspected: list[CodeFinding]
) -> list[CodeFinding]:
    """Find the reason why one batch is not learnt: inputs, weights, or the learning rate.

    Args:
        training: the training.
        trace: of its first run.
        suspected: findings about the weights, reported only if smaller weights help.
    """
    updates = trace.all(OptimizerStep)
    if len({each.optimizer for each in updates}) != 1 or updates[0].rule in SEARCHING:
        return []
    run = training.run(SHORT, same=True)
    losses = run.losses
    if not all(map(isfinite, losses)) and logarithms(run):
        return logarithms(run)
    if len(losses) < LAST or not losses[0] > 0 or min(losses) < 0:
        return []
    found = if_smaller_weights_help(training, suspected, final(losses))
    found = found or _raw_inputs(training, trace, losses)
    if not found and is_sick(losses):
        found = _large_rate(training, trace, losses)
    return found or _forgets(training, trace)


def if_smaller_weights_help(
    training: Training, suspected: list[CodeFinding], end: float | None = None
) -> list[CodeFinding]:
    """Return the suspected findings if the loss falls further with smaller weights.

    Args:
        training: the training.
        suspected: findings about the weights.
        end: the final loss with the weights as they are, if it is known.
    """
    if not suspected:
        return []
    end = final(training.run(SHORT, same=True).losses) if end is None else end
    other = final(training.run(SHORT, Intervention(gain=SMALL_GAIN), same=True).losses)
    return suspected if other < 0.5 * end else []


def _raw_inputs(training: Training, trace: Trace, losses: list[float]) -> list[CodeFinding]:
    """Find inputs with a large scale, if standardised inputs are learnt better.

    Args:
        training: the training.
        trace: of its first run.
        losses: of one batch with the inputs as they are.
    """
    large = next((e for e in trace.all(ModelInput) if e.rms > INPUT_RMS), None)
    if large is None:
        return []
    change, margin = Intervention(standardised=True), 0.5 if is_sick(losses) else 0.1
    other = training.run(SHORT, change, same=True).losses
    if is_sick(losses) and not is_better(other, losses, margin):  # both may be slow at first
        losses = training.run(LONG, same=True).losses
        other = training.run(LONG, change, same=True).losses
    if not is_better(other, losses, margin):
        return []
    return [
        CodeFinding(
            "unscaled_inputs",
            "the inputs are not scaled",
            f"{large.line}: {large.line.code}",
            f"their rms is {large.rms:.3g}; {described(losses)}; with inputs of zero mean and unit "
            f"variance, {described(other)}",
            "x = (x - mean) / std, feature by feature, with the training set's mean and std",
        )
    ]


def _forgets(training: Training, trace: Trace) -> list[CodeFinding]:
    """Find a rate at which one batch is learnt, and the loss over several batches explodes."""
    losses: list[float] = []
    for steps in (SHORT, LONG) if training.is_varied else ():
        losses = training.run(steps).losses
        if len(losses) < LAST or min(losses) < 0 or not final(losses) > LEAP * losses[0]:
            return []
    return _large_rate(training, trace, losses, same=False) if losses else []


def _large_rate(
    training: Training, trace: Trace, losses: list[float], *, same: bool = True
) -> list[CodeFinding]:
    """Find a learning rate that is too large, if a smaller rate learns.

    Args:
        training: the training.
        trace: of its first run.
        losses: at the rate as it is.
        same: whether to train on one batch only.
    """
    first = trace.all(OptimizerStep)[0]
    if not leaps(losses, LEAP):  # an overshoot in the first steps may pass
        losses = training.run(LONG, same=same).losses
        if not (leaps(losses, LEAP) or final(losses) > 0.9 * losses[0]):
            return []
    start, end = losses[0], final(losses)
    bound = 0.9 * start if leaps(losses, LEAP) else min(0.9 * start, 0.8 * end)
    for factor in RATES:
        other = _losses_below(bound, training, Intervention(lr=factor), same=same)
        if final(other) < bound and is_calm(other):
            return [
                CodeFinding(
                    "learning_rate",
                    f"the learning rate {first.lr:g} is too large",
                    f"{first.line}: {first.line.code}",
                    f"{described(losses)}; with {factor:g} times the rate, {described(other)}",
                    f"lr={first.lr * factor:g}",
                )
            ]
    return []


def _losses_below(
    bound: float, training: Training, intervention: Intervention, *, same: bool
) -> list[float]:
    """Return the losses of a short run, or of a long run if the short run ends above a bound.

    Args:
        bound: of the final loss.
        training: the training.
        intervention: the change that is tried.
        same: whether to train on one batch only.
    """
    losses = training.run(SHORT, intervention, same=same).losses
    if final(losses) < bound or not is_calm(losses):
        return losses
    return training.run(LONG, intervention, same=same).losses


def summed_loss(training: Training, trace: Trace) -> list[CodeFinding]:
    """Find a loss that is a sum over samples: samples that occur twice double the update."""
    updates = trace.all(OptimizerStep)
    if not updates or trace.all(GradientClip):
        return []
    first, found = updates[0], _sum_by_repetition(training) or _sum_by_graph(trace)
    if found is None:
        return _summed_in_a_loop(training, trace)
    n, evidence = found
    rate = first.lr * n / max(1 - first.momentum, 1e-3)
    if rate < SUM_RATE and not _overshoots(trace):
        return []
    line = next(iter(trace.all(LossCall) or trace.all(BackwardPass) or updates)).line
    return [_sum_finding(line, "the batch", evidence, first.lr, n)]


def _sum_finding(line: SourceLine, over: str, evidence: str, lr: float, n: int) -> CodeFinding:
    """Return the finding of a summed loss.

    Args:
        line: of the loss.
        over: the terms of the sum, in words.
        evidence: the observation.
        lr: the learning rate.
        n: the number of terms.
    """
    return CodeFinding(
        "summed_loss",
        f"the loss is a sum over {over}: the step grows with its size",
        f"{line}: {line.code}",
        f"{evidence}; with a mean, the learning rate {lr:g} would be {lr * n:g}",
        'reduction="mean", or the sum divided by the number of its terms',
    )


def _sum_by_repetition(training: Training) -> tuple[int, str] | None:
    """Return the number of samples and the evidence, if repeated samples enlarge the update."""
    traces = [training.repeated(times) for times in (1, 2, 4)]
    moved = [
        update.distance
        for trace in traces
        if trace is not None and not trace.error
        for update in trace.all(OptimizerStep)[:1]
    ]
    if len(moved) < len(traces) or not moved[0]:
        return None
    two, four = (each / moved[0] for each in moved[1:])
    if not (1.9 < two < 2.1 and 3.7 < four < 4.3):
        return None
    evidence = f"each sample twice in a batch makes the update {two:.2f} times as long, four times"
    return training.samples, f"{evidence} {four:.2f}: with a mean, it would stay the same"


def _sum_by_graph(trace: Trace) -> tuple[int, str] | None:
    """Return the number of samples and the evidence, if plain SGD follows a sum with factor 1."""
    terms = [each for one in trace.all(BackwardPass) for each in one.terms]
    if any(each.is_mean and abs(each.derivative) > 0.1 for each in terms):
        return None
    sums = [each for each in terms if not each.is_mean and each.samples > 1 and _is_bare(each)]
    if not sums or trace.all(OptimizerStep)[0].rule != "SGD":
        return None
    n = max(each.samples for each in sums)
    return n, f"backward starts from a sum over {n} samples, with the factor 1"


def _is_bare(term: LossTerm) -> bool:
    """Return whether the loss contains a term with the factor 1."""
    return abs(term.derivative - 1) < 1e-6


def _summed_in_a_loop(training: Training, trace: Trace) -> list[CodeFinding]:
    """Find losses of one line that a loop adds, if their mean can be trained and their sum not.

    Sums over time steps or over several aims are common: they count only if they do harm.
    """
    first = trace.all(OptimizerStep)[0]
    n, line = _losses_of_one_line(trace)
    if line is None or n < MANY or first.rule != "SGD" or not _overshoots(trace):
        return []
    losses = training.run(SHORT).losses
    if not leaps(losses) or final(losses) <= losses[0]:
        return []
    other = training.run(SHORT, Intervention(lr=1 / n)).losses
    if not other or not is_calm(other):
        return []
    evidence = (
        f"{n} losses of this line are added with the factor 1; {described(losses)}; with the "
    )
    evidence += f"rate divided by {n}, {described(other)}"
    return [_sum_finding(line, "a loop", evidence, first.lr, n)]


def _losses_of_one_line(trace: Trace) -> tuple[int, SourceLine | None]:
    """Return the least number of losses of one line in a backward pass, and the line."""
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


def final(losses: list[float]) -> float:
    """Return the mean of the last losses; infinity if a loss is not finite."""
    last = losses[-LAST:]
    return fmean(last) if losses and all(map(isfinite, losses)) else float("inf")


def is_sick(losses: list[float]) -> bool:
    """Return whether one repeated batch is not learnt, or only with leaps."""
    return not final(losses) <= 0.5 * losses[0] or leaps(losses)


def leaps(losses: list[float], peak: float = PEAK) -> bool:
    """Return whether the loss exceeds `peak` times its first value, or is not finite."""
    return not all(map(isfinite, losses)) or max(losses) > peak * losses[0]


def is_calm(losses: list[float]) -> bool:
    """Return whether the loss never exceeds its first value by much."""
    return all(map(isfinite, losses)) and max(losses, default=0.0) <= 1.5 * losses[0]


def is_better(other: list[float], losses: list[float], margin: float) -> bool:
    """Return whether one run is calm and ends lower than another run.

    Args:
        other: the losses of the run that may be better; empty if the training is impossible.
        losses: the losses of the run to compare with.
        margin: the factor between both ends.
    """
    if not other:
        return False
    further = final(other) < margin * final(losses)
    if not is_sick(losses):  # then it must also fall by a larger factor
        further = further and final(other) / other[0] < final(losses) / losses[0]
    return is_calm(other) and (further or leaps(losses))


def described(losses: list[float]) -> str:
    """Return a sentence about the losses of a run."""
    peak = max((x for x in losses if isfinite(x)), default=0.0)
    by = f" by way of {peak:.3g}" if peak > PEAK * losses[0] else ""
    return f"{len(losses)} updates take the loss from {losses[0]:.3g}{by} to {final(losses):.3g}"
