"""Rules for the order of operations around an update: clearing, clipping, schedules."""

from collections.abc import Iterator
from math import isclose, isfinite

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import (
    BackwardPass,
    Event,
    GradientClip,
    OptimizerStep,
    ScalerStep,
    ScheduleStep,
)
from gradlab.debugger.observe.fingerprints import is_cleared, total_norm
from gradlab.debugger.observe.source_lines import SourceLine
from gradlab.debugger.observe.trace import Trace

CLIP_BETWEEN = "clip between loss.backward() and optimizer.step()"


def find_uncleared_gradients(trace: Trace) -> list[CodeFinding]:
    """Find gradients that are not cleared after an update: the next backward pass adds to them."""
    stale: list[tuple[BackwardPass, OptimizerStep]] = []
    spans = 0
    for last, between, update in _spans(trace):
        passes = [event for event in between if isinstance(event, BackwardPass)]
        used = [w for w in update.weights if not is_cleared(last.before, w)]
        if not passes or not used:
            continue
        spans += 1
        uncleared = [w for w in used if _never_cleared(w, last, passes, update)]
        if uncleared:
            stale.append((passes[0], last))
    if not stale or len(stale) < min(spans, 2):
        return []
    first, last = stale[0]
    norm = total_norm(last.after, last.weights)
    return [
        CodeFinding(
            "no_zero_grad",
            "gradients are not cleared between updates: they add up",
            f"{first.line}: {first.line.code}",
            f"at {len(stale)} of {spans} backward passes after an update, `.grad` still holds the "
            f"gradient of that update (norm {norm:.3g}), and the pass adds to it",
            "optimizer.zero_grad() before this line, once per update",
        )
    ]


def find_discarded_gradients(trace: Trace) -> list[CodeFinding]:
    """Find gradients that are cleared between the backward pass and the update."""
    updates = [(span, u) for span, u in _cycles(trace) if _with_gradient(span, u)]
    lost = [
        (span, u)
        for span, u in updates
        if all(is_cleared(u.before, w) for w in _with_gradient(span, u))
    ]
    if not updates or len(lost) < len(updates):
        return []
    span, update = lost[0]
    last = [event for event in span if isinstance(event, BackwardPass)][-1]
    return [
        CodeFinding(
            "zero_grad_too_late",
            "gradients are cleared after the backward pass and before the update",
            f"between {last.line} and {update.line}",
            f"`backward` gave gradients of norm {total_norm(last.after, update.weights):.3g}; at "
            f"all {len(lost)} updates every gradient was None or 0, and no weight moved",
            "optimizer.zero_grad() before loss.backward(), or after optimizer.step()",
        )
    ]


def find_undivided_accumulation(trace: Trace) -> list[CodeFinding]:
    """Find mean losses of small batches that are added and not divided by their number."""
    counts: list[int] = []
    line = None
    for span, update in _cycles(trace):
        passes = _accumulated([e for e in span if isinstance(e, BackwardPass)], update)
        if len(passes) < 2 or len({event.lines for event in passes}) > 1:
            continue
        if any(p.retained for p in passes) or len({p.reaches for p in passes}) > 1:
            continue  # several losses of one batch: their sum is intended
        later = _rescaled(span, passes[-1], update)
        means = [max((f.derivative for f in p.terms if f.is_mean), default=0.0) for p in passes]
        if later is None or not all(isclose(f * later, 1.0, rel_tol=0.02) for f in means):
            return []
        counts.append(len(passes))
        line = passes[0].line
    if line is None:
        return []
    m = max(counts)
    return [
        CodeFinding(
            "undivided_accumulation",
            f"{m} mean losses are added for each update and not divided by {m}",
            f"{line}: {line.code}",
            f"{m} backward passes before an update, each from the mean over a batch, with the "
            f"factor 1: the gradient is {m} times the gradient of the mean over all samples",
            f"(loss / {m}).backward()",
        )
    ]


def _spans(trace: Trace) -> Iterator[tuple[OptimizerStep, list[Event], OptimizerStep]]:
    """Yield (update, events between, next update) for each optimiser."""
    for last, update in _pairs(trace):
        if last is not None:
            i, j = trace.events.index(last), trace.events.index(update)
            yield last, trace.events[i + 1 : j], update


def _cycles(trace: Trace) -> Iterator[tuple[list[Event], OptimizerStep]]:
    """Yield (events since the last update, update) for each optimiser."""
    for last, update in _pairs(trace):
        i = -1 if last is None else trace.events.index(last)
        yield trace.events[i + 1 : trace.events.index(update)], update


def _pairs(trace: Trace) -> Iterator[tuple[OptimizerStep | None, OptimizerStep]]:
    last: dict[int, OptimizerStep] = {}
    for update in trace.all(OptimizerStep):
        yield last.get(update.optimizer), update
        last[update.optimizer] = update


def _never_cleared(
    w: int, last: OptimizerStep, passes: list[BackwardPass], update: OptimizerStep
) -> bool:
    """Return whether a gradient was never cleared between two updates.

    Args:
        w: the weight.
        last: the first update.
        passes: the backward passes between both.
        update: the second update.

    Returns:
        True if every backward pass adds to the gradient of the first update.
    """
    if is_cleared(update.before, w) or not any(w in each.reaches for each in passes):
        return False
    left = last.after.get(w)
    for each in passes:
        if each.before.get(w) != left or is_cleared(each.before, w):
            return False
        left = each.after.get(w)
    return left != last.after.get(w)


def _with_gradient(span: list[Event], update: OptimizerStep) -> list[int]:
    """Return the weights that have a gradient after the last backward pass."""
    passes = [e for e in span if isinstance(e, BackwardPass) and e.reaches & update.weights]
    if not passes:
        return []
    return [w for w in passes[-1].reaches & update.weights if not is_cleared(passes[-1].after, w)]


def _accumulated(passes: list[BackwardPass], update: OptimizerStep) -> list[BackwardPass]:
    """Return the last backward passes whose gradients are accumulated."""
    found: list[BackwardPass] = []
    for each in passes:
        if not each.reaches & update.weights:
            continue
        reached = each.reaches & update.weights
        adds = found and any(
            not is_cleared(each.before, w) and each.before.get(w) == found[-1].after.get(w)
            for w in reached
        )
        found = [*found, each] if adds else [each]
    return found


def _rescaled(span: list[Event], last: BackwardPass, update: OptimizerStep) -> float | None:
    """Return the factor by which code rescales the gradients before the update, without clipping.

    Args:
        span: the events before the update.
        last: the last backward pass.
        update: the update.

    Returns:
        The factor; None if it is 0 or not finite.
    """
    size, factor = total_norm(last.after, update.weights), 1.0
    for event in span[span.index(last) :]:
        if isinstance(event, GradientClip):
            factor *= _ratio(total_norm(event.before, update.weights), size)
            size = total_norm(event.after, update.weights)
    factor *= _ratio(total_norm(update.before, update.weights), size)
    return factor if isfinite(factor) and factor > 0 else None


def _ratio(a: float, b: float) -> float:
    return a / b if b else 0.0


def find_misplaced_clipping(trace: Trace) -> list[CodeFinding]:
    """Find clipping that affects no update, and clipping of gradients that are still scaled."""
    found: list[CodeFinding] = []
    for line in dict.fromkeys(clip.line for clip in trace.all(GradientClip)):
        mistakes = [
            v
            for v in (_clip_mistake(trace.events, i, line) for i in _clips_of_line(trace, line))
            if v
        ]
        if mistakes and all(finding.kind for finding in mistakes):
            found.append(mistakes[-1])  # the first clip may come before the first gradient
    return found


def _clips_of_line(trace: Trace, line: SourceLine) -> list[int]:
    return [i for i, e in enumerate(trace.events) if isinstance(e, GradientClip) and e.line == line]


def _clip_mistake(events: list[Event], i: int, line: SourceLine) -> CodeFinding | None:
    """Return the mistake of one clip.

    Args:
        events: the events of the training.
        i: the index of the clip.
        line: the line of the clip.

    Returns:
        The finding; a finding without a kind if the clip is correct; None if this is unknown.
    """
    clip = events[i]
    assert isinstance(clip, GradientClip)
    after = next((e for e in events[i + 1 :] if isinstance(e, BackwardPass | OptimizerStep)), None)
    before = next(
        (e for e in events[i - 1 :: -1] if isinstance(e, BackwardPass | OptimizerStep)), None
    )
    if i == 0:
        before = None
    if after is None:
        return None
    if isinstance(after, OptimizerStep):
        return _find_scaled_clip(events, i, clip, after)
    if isinstance(before, BackwardPass):
        return _correct()  # between two passes of one update
    nothing = all(is_cleared(clip.before, w) for w in clip.before)
    if before is None or nothing:
        return CodeFinding(
            "clip_before_backward",
            "gradients are clipped before the backward pass",
            f"{line}: {line.code}",
            f"at this line every `.grad` is None or 0; `backward` comes next ({after.line}), and "
            "the update uses its gradients unclipped",
            CLIP_BETWEEN,
        )
    return CodeFinding(
        "clip_after_step",
        "gradients are clipped after the update has used them",
        f"{line}: {line.code}",
        f"the update ({before.line}) came first; no update uses the gradients clipped here "
        f"(norm {total_norm(clip.before):.3g} -> {total_norm(clip.after):.3g})",
        CLIP_BETWEEN,
    )


def _find_scaled_clip(
    events: list[Event], i: int, clip: GradientClip, update: OptimizerStep
) -> CodeFinding | None:
    """Return the mistake if all gradients shrink by the same factor after the clip.

    Args:
        events: the events of the training.
        i: the index of the clip.
        clip: the clip.
        update: the next optimiser step.

    Returns:
        The finding; a finding without a kind if the clip is correct; None if this is unknown.
    """
    j = events.index(update)
    if any(isinstance(e, GradientClip) for e in events[i + 1 : j]):
        return None  # clipped again: the later clip is checked
    ratios = [
        b[0] / a[0]
        for w in update.weights
        if (a := clip.after.get(w)) and (b := update.before.get(w)) and 0 < a[0] < float("inf")
    ]
    if not ratios or not 0 < max(ratios) < 0.5 or max(ratios) > 1.01 * min(ratios):
        return _correct()
    return CodeFinding(
        "clip_before_unscale",
        "gradients are clipped while they are still multiplied by the loss scale",
        f"{clip.line}: {clip.line.code}",
        f"norm {total_norm(clip.before, update.weights):.3g} when clipped; then all gradients were "
        f"divided by {1 / max(ratios):,.0f}, so the update uses "
        f"{total_norm(update.before, update.weights):.3g}",
        "scaler.unscale_(optimizer) before clipping",
    )


def _correct() -> CodeFinding:
    return CodeFinding("", "", "", "", "")


def find_early_schedules(trace: Trace) -> list[CodeFinding]:
    """Find a schedule that steps before the optimiser's first update."""
    for first in trace.all(ScheduleStep)[:1]:
        steps = [
            e
            for e in trace.events
            if isinstance(e, OptimizerStep | ScalerStep) and e.optimizer == first.optimizer
        ]
        if not steps or trace.events.index(steps[0]) < trace.events.index(first):
            continue
        return [
            CodeFinding(
                "schedule_before_step",
                "the schedule steps before the optimiser, so the first learning rate is skipped",
                f"{first.line}: {first.line.code}",
                f"scheduler.step() came before the first optimizer.step() ({steps[0].line})",
                "optimizer.step() first, then scheduler.step()",
            )
        ]
    return []
