"""Traces made by hand: one weight, one optimiser, and events in the order of a short word."""

from gradlab.debugger.observe.source_lines import Place
from gradlab.debugger.observe.trace import (
    Backward,
    Clip,
    Factor,
    Schedule,
    Trace,
    Update,
    Weight,
)

W, OPTIMIZER = 1, 7
AT = {kind: Place("train.py", line) for line, kind in enumerate("zbcsoud", 1)}


def trace_of(word, *, gradient=1.0, factor=1.0, scale=1.0):
    """Return the trace of a word: z zero_grad, b backward, c clip, o optimizer.step, s schedule.

    u divides the gradient by `scale`, by which backward passes multiply it; d halves it by hand.
    """
    events, grad, update = [], None, 0
    for letter in word:
        now = {"place": AT[letter], "update": update}
        before = {W: None if grad is None else (grad, grad)}
        if letter == "z":
            grad = None
        elif letter == "b":
            grad = (grad or 0.0) + gradient * factor * scale
            factors = (Factor(True, 8, factor * scale),)
            events.append(
                Backward(
                    **now,
                    value=1.0,
                    reaches=frozenset({W}),
                    before=before,
                    after={W: (grad, grad)},
                    trail=(AT[letter],),
                    factors=factors,
                )
            )
        elif letter == "c":
            grad = None if grad is None else min(grad, 0.5)
            after = {W: None if grad is None else (grad, grad)}
            events.append(Clip(**now, name="clip", before=before, after=after))
        elif letter == "u":
            grad = None if grad is None else grad / scale
        elif letter == "d":
            grad = None if grad is None else grad / 2
        elif letter == "s":
            events.append(Schedule(**now, optimizer=OPTIMIZER))
        elif letter == "o":
            events.append(
                Update(
                    **now,
                    optimizer=OPTIMIZER,
                    rule="SGD",
                    lr=0.1,
                    momentum=0.0,
                    held=frozenset({W}),
                    before=before,
                    after=before,
                    moved=1.0,
                    idle={},
                    alike={},
                )
            )
            update += 1
    weight = Weight("weight", (3, 2), True, True, held=frozenset({OPTIMIZER}))
    return Trace(events, {W: weight}, updates=update)
