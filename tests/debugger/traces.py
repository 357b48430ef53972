"""Builds traces for tests from short words: one weight, one optimiser, one letter per event."""

from gradlab.debugger.observe.events import (
    BackwardPass,
    GradientClip,
    LossTerm,
    OptimizerStep,
    ScheduleStep,
)
from gradlab.debugger.observe.source_lines import SourceLine
from gradlab.debugger.observe.trace import Trace, TrackedWeight

W, OPTIMIZER = 1, 7
AT = {kind: SourceLine("train.py", line) for line, kind in enumerate("zbcsoud", 1)}


def trace_of(word, *, gradient=1.0, factor=1.0, scale=1.0):
    """Return the trace of a word: z zero_grad, b backward, c clip, o optimizer.step, s schedule.

    u divides the gradient by `scale`, by which backward passes multiply it; d halves it by hand.
    """
    events, grad, step = [], None, 0
    for letter in word:
        now = {"line": AT[letter], "step": step}
        before = {W: None if grad is None else (grad, grad)}
        if letter == "z":
            grad = None
        elif letter == "b":
            grad = (grad or 0.0) + gradient * factor * scale
            terms = (LossTerm(True, 8, factor * scale),)
            events.append(
                BackwardPass(
                    **now,
                    value=1.0,
                    reaches=frozenset({W}),
                    before=before,
                    after={W: (grad, grad)},
                    lines=(AT[letter],),
                    terms=terms,
                )
            )
        elif letter == "c":
            grad = None if grad is None else min(grad, 0.5)
            after = {W: None if grad is None else (grad, grad)}
            events.append(GradientClip(**now, name="clip", before=before, after=after))
        elif letter == "u":
            grad = None if grad is None else grad / scale
        elif letter == "d":
            grad = None if grad is None else grad / 2
        elif letter == "s":
            events.append(ScheduleStep(**now, optimizer=OPTIMIZER))
        elif letter == "o":
            events.append(
                OptimizerStep(
                    **now,
                    optimizer=OPTIMIZER,
                    rule="SGD",
                    lr=0.1,
                    momentum=0.0,
                    weights=frozenset({W}),
                    before=before,
                    after=before,
                    distance=1.0,
                    idle={},
                    row_agreement={},
                )
            )
            step += 1
    weight = TrackedWeight("weight", (3, 2), True, True, optimizers=frozenset({OPTIMIZER}))
    return Trace(events, {W: weight}, steps=step)
