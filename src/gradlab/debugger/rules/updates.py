"""Gradients between one update and the next: never cleared, cleared too soon, or added up."""

from collections.abc import Iterator
from math import isclose, isfinite

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.gradient_fingerprints import is_cleared, total
from gradlab.debugger.observe.trace import Backward, Clip, Event, Trace, Update


def no_zero_grad(trace: Trace) -> list[Finding]:
    """Find gradients that an update has used, and to which the next backward pass adds."""
    stale: list[tuple[Backward, Update]] = []
    spans = 0
    for last, between, update in _spans(trace):
        passes = [event for event in between if isinstance(event, Backward)]
        used = [w for w in update.held if not is_cleared(last.before, w)]
        if not passes or not used:
            continue
        spans += 1
        kept = [w for w in used if _never_cleared(w, last, passes, update)]
        if kept:
            stale.append((passes[0], last))
    if not stale or len(stale) < min(spans, 2):
        return []
    first, last = stale[0]
    norm = total(last.after, last.held)
    return [
        Finding(
            "no_zero_grad",
            "gradients are not cleared between updates: each follows the sum of all before it",
            f"{first.place}: {first.place.code}",
            f"at {len(stale)} of {spans} backward passes after an update, `.grad` still holds what "
            f"that update used (norm {norm:.3g}), and the pass adds to it",
            "optimizer.zero_grad() before this line, once per update",
        )
    ]


def zero_grad_too_late(trace: Trace) -> list[Finding]:
    """Find gradients that a backward pass has made are gone when the update comes."""
    updates = [(span, update) for span, update in _cycles(trace) if _made(span, update)]
    lost = [
        (span, u) for span, u in updates if all(is_cleared(u.before, w) for w in _made(span, u))
    ]
    if not updates or len(lost) < len(updates):
        return []
    span, update = lost[0]
    last = [event for event in span if isinstance(event, Backward)][-1]
    return [
        Finding(
            "zero_grad_too_late",
            "gradients are cleared after the backward pass and before the update",
            f"between {last.place} and {update.place}",
            f"`backward` left gradients of norm {total(last.after, update.held):.3g}; at all "
            f"{len(lost)} updates every one of them was None or 0, and no weight moved",
            "optimizer.zero_grad() before loss.backward(), or after optimizer.step()",
        )
    ]


def accumulation(trace: Trace) -> list[Finding]:
    """Find means over micro-batches that are added up and not divided by their number."""
    counts: list[int] = []
    place = None
    for span, update in _cycles(trace):
        passes = _accumulated([e for e in span if isinstance(e, Backward)], update)
        if len(passes) < 2 or len({event.trail for event in passes}) > 1:
            continue
        if any(p.retained for p in passes) or len({p.reaches for p in passes}) > 1:
            continue  # several losses of one batch, for several heads: their sum is meant
        later = _rescaled(span, passes[-1], update)
        means = [max((f.value for f in p.factors if f.is_mean), default=0.0) for p in passes]
        if later is None or not all(isclose(f * later, 1.0, rel_tol=0.02) for f in means):
            return []
        counts.append(len(passes))
        place = passes[0].place
    if place is None:
        return []
    m = max(counts)
    return [
        Finding(
            "undivided_accumulation",
            f"{m} mean losses are added up for each update and not divided by {m}",
            f"{place}: {place.code}",
            f"{m} backward passes before an update, each from the mean over its own batch with the "
            f"factor 1: the gradient is {m} times that of the mean over all samples",
            f"(loss / {m}).backward()",
        )
    ]


def _spans(trace: Trace) -> Iterator[tuple[Update, list[Event], Update]]:
    """Yield (update, what came between, next update) of each optimiser."""
    for last, update in _pairs(trace):
        if last is not None:
            i, j = trace.events.index(last), trace.events.index(update)
            yield last, trace.events[i + 1 : j], update


def _cycles(trace: Trace) -> Iterator[tuple[list[Event], Update]]:
    """Yield (what came before, update) of each optimiser, since its last update."""
    for last, update in _pairs(trace):
        i = -1 if last is None else trace.events.index(last)
        yield trace.events[i + 1 : trace.events.index(update)], update


def _pairs(trace: Trace) -> Iterator[tuple[Update | None, Update]]:
    last: dict[int, Update] = {}
    for update in trace.all(Update):
        yield last.get(update.optimizer), update
        last[update.optimizer] = update


def _never_cleared(w: int, last: Update, passes: list[Backward], update: Update) -> bool:
    """Say whether a weight's gradient went on from one update to the next without a break."""
    if is_cleared(update.before, w) or not any(w in each.reaches for each in passes):
        return False
    left = last.after.get(w)
    for each in passes:
        if each.before.get(w) != left or is_cleared(each.before, w):
            return False
        left = each.after.get(w)
    return left != last.after.get(w)


def _made(span: list[Event], update: Update) -> list[int]:
    """Return the weights for which the last backward pass that reaches any left a gradient."""
    passes = [e for e in span if isinstance(e, Backward) and e.reaches & update.held]
    if not passes:
        return []
    return [w for w in passes[-1].reaches & update.held if not is_cleared(passes[-1].after, w)]


def _accumulated(passes: list[Backward], update: Update) -> list[Backward]:
    """Return the backward passes, up to the last, that add to one another's gradients."""
    found: list[Backward] = []
    for each in passes:
        if not each.reaches & update.held:
            continue
        mine = each.reaches & update.held
        adds = found and any(
            not is_cleared(each.before, w) and each.before.get(w) == found[-1].after.get(w)
            for w in mine
        )
        found = [*found, each] if adds else [each]
    return found


def _rescaled(span: list[Event], last: Backward, update: Update) -> float | None:
    """Return what gradients are multiplied by between the last backward pass and the update.

    Clipping is left out.
    """
    size, factor = total(last.after, update.held), 1.0
    for event in span[span.index(last) :]:
        if isinstance(event, Clip):
            factor *= _ratio(total(event.before, update.held), size)
            size = total(event.after, update.held)
    factor *= _ratio(total(update.before, update.held), size)
    return factor if isfinite(factor) and factor > 0 else None


def _ratio(a: float, b: float) -> float:
    return a / b if b else 0.0
