"""An error signal that is exactly 0 at every layer, the last one included.

All other rules compare layers, and 0/0 is no ratio. A loss at its minimum leaves the same zeros, so
the loss and the accuracy are asked whether there was anything left to learn.
"""

import numpy as np
import pandas as pd

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import since_when
from gradlab.diagnosis.record import Record

REMEDIES = ("train.dtype=float64", "loss.scale=1")


def silent(record: Record) -> Finding | None:
    """Find a loss that sends nothing back, short of its minimum."""
    grid = record.depth
    zero = (grid["delta_norm"] == 0).all(axis=1)
    before = ~np.logical_and.accumulate(zero)  # there was a gradient, so it may have done its work
    loss, accuracy = (record.at(grid.steps, name) for name in ("loss", "accuracy"))
    holds = zero & ~(before & (loss == 0) & ~(accuracy < 1))
    holds &= ~(accuracy == 1)
    since = since_when(holds, grid.steps)
    if since is None:
        return None
    seen = pd.DataFrame({"loss": loss, "accuracy": accuracy})[holds].mean().dropna()
    return Finding(
        kind="underflow",
        where=tuple(int(position) for position in grid.positions),
        since=since,
        severity="gross",
        cause=f"exactly 0 at every layer, the last included: {_why(seen, bool(before.any()))}",
        evidence={f"mean_{name}": float(value) for name, value in seen.items()},
        remedies=REMEDIES,
    )


def _why(seen: pd.Series, before: bool) -> str:
    """Say what the zeros can come from, as far as loss and accuracy tell."""
    gone = "underflow, or a loss that does not depend on the output"
    if seen.get("accuracy", 1.0) < 1:
        return f"{gone} (of the batch, {seen['accuracy']:.0%} are right)"
    if seen.get("loss", 0.0) != 0:
        return f"{gone}, or the loss is at its minimum, {seen['loss']:.2g}"
    if before:
        return "underflow, or the loss is at its minimum"
    return f"{gone}, or that was at its minimum from the first record on"
