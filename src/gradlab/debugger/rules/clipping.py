"""Clipping at a moment when it does nothing, or does it to the wrong numbers."""

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.gradient_fingerprints import is_cleared, total
from gradlab.debugger.observe.source_lines import Place
from gradlab.debugger.observe.trace import Backward, Clip, Event, Trace, Update

INSTEAD = "clip between loss.backward() and optimizer.step()"


def clipping(trace: Trace) -> list[Finding]:
    """Find clipping that no update ever sees, or of gradients that are still scaled."""
    found: list[Finding] = []
    for place in dict.fromkeys(clip.place for clip in trace.all(Clip)):
        verdicts = [v for v in (_verdict(trace.events, i, place) for i in _at(trace, place)) if v]
        if verdicts and all(finding.kind for finding in verdicts):
            found.append(verdicts[-1])  # the first may come before there was any gradient
    return found


def _at(trace: Trace, place: Place) -> list[int]:
    return [i for i, e in enumerate(trace.events) if isinstance(e, Clip) and e.place == place]


def _verdict(events: list[Event], i: int, place: Place) -> Finding | None:
    """Return what is wrong with one clipping; a finding without a kind if it is right."""
    clip = events[i]
    assert isinstance(clip, Clip)
    after = next((e for e in events[i + 1 :] if isinstance(e, Backward | Update)), None)
    before = next((e for e in events[i - 1 :: -1] if isinstance(e, Backward | Update)), None)
    if i == 0:
        before = None
    if after is None:
        return None
    if isinstance(after, Update):
        return _scaled(events, i, clip, after)
    if isinstance(before, Backward):
        return _right()  # between two passes of one update
    nothing = all(is_cleared(clip.before, w) for w in clip.before)
    if before is None or nothing:
        return Finding(
            "clip_before_backward",
            "gradients are clipped before there are any",
            f"{place}: {place.code}",
            f"at this line every `.grad` is None or 0; `backward` comes next ({after.place}), and "
            "what it brings reaches the update unclipped",
            INSTEAD,
        )
    return Finding(
        "clip_after_step",
        "gradients are clipped after the update has used them",
        f"{place}: {place.code}",
        f"the update ({before.place}) came first; no update sees the gradients clipped here "
        f"(norm {total(clip.before):.3g} -> {total(clip.after):.3g})",
        INSTEAD,
    )


def _scaled(events: list[Event], i: int, clip: Clip, update: Update) -> Finding | None:
    """Return what is wrong if all gradients shrink by one factor after they were clipped."""
    j = events.index(update)
    if any(isinstance(e, Clip) for e in events[i + 1 : j]):
        return None  # clipped again: that one is judged
    ratios = [
        b[0] / a[0]
        for w in update.held
        if (a := clip.after.get(w)) and (b := update.before.get(w)) and 0 < a[0] < float("inf")
    ]
    if not ratios or not 0 < max(ratios) < 0.5 or max(ratios) > 1.01 * min(ratios):
        return _right()
    return Finding(
        "clip_before_unscale",
        "gradients are clipped while they are still multiplied by the loss scale",
        f"{clip.place}: {clip.place.code}",
        f"norm {total(clip.before, update.held):.3g} when clipped; then all gradients were divided "
        f"by {1 / max(ratios):,.0f}, so the update sees {total(update.before, update.held):.3g}",
        "scaler.unscale_(optimizer) before clipping",
    )


def _right() -> Finding:
    return Finding("", "", "", "", "")
