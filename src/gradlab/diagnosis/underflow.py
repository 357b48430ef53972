"""Zeros that the dtype has made, told apart from dead units and from a signal that is only small.

A layer's weight gradient underflows where it holds exact zeros that no dead unit explains, *and* is
of a size at which the dtype gives out. The size is that of the entries which are left; where none
is left, the one that the factors predict.
"""

import numpy as np

from gradlab.diagnosis.chain import beyond
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.places import named
from gradlab.diagnosis.profile import log10, median
from gradlab.diagnosis.record import SMALLEST, Record

REACH = 30.0  # smallest numbers: a normal variable of this deviation rounds to 0 in 1% of cases


def underflow(record: Record) -> Finding | None:
    """Find layers whose gradient the dtype has rounded to 0, wholly or in good part."""
    grid = record.depth
    zeros, dead = grid["grad_zeros"], grid["dead"]
    # A row of dLoss/dW is 0 for a dead unit, a column for one in the layer before.
    unexplained = zeros - dead - np.pad(dead, ((0, 0), (1, 0)))[:, :-1]
    smallest = SMALLEST.get(record.dtype, SMALLEST["float32"])
    if not (unexplained >= record.limit("zeros")).any():
        return None
    sizes = entries(record)  # -inf where a factor is 0 itself: no dtype would help
    small = np.isfinite(sizes) & (sizes <= np.log10(REACH * smallest))
    done = record.learnt(grid.steps)
    holds = (unexplained >= record.limit("zeros")) & small & ~done[:, None]
    rows = holds.any(axis=1)
    since = since_when(rows[~done], grid.steps[~done])
    if since is None:
        return None
    where = mostly(holds, grid.positions)
    share = median(np.where(holds, zeros, -np.inf).max(axis=1)[rows])
    size = median(np.where(holds, sizes, np.inf).min(axis=1)[rows])
    return Finding(
        kind="underflow",
        where=where,
        since=since,
        severity="gross" if share >= 0.99 else "mild",
        cause=f"{share:.0%} of the gradient of {named(where)} is exactly 0 in {record.dtype}: its "
        f"entries are about 1e{size:.0f}, and the least it can hold is {smallest:.1e}",
        evidence={"zeros": share, "log10_entry": size, "log10_smallest": float(np.log10(smallest))},
        remedies=("train.dtype=float32", "train.dtype=float64", "loss.scale=1024"),
    )


def entries(record: Record) -> np.ndarray:
    """Return log10 of a nonzero entry of dLoss/dW_l, root mean square, as it is or should be.

    By step and layer.
    """
    grid = record.depth
    norm, left = grid["weight_grad_norm"], grid["weight_count"] * (1 - grid["grad_zeros"])
    with np.errstate(invalid="ignore"):  # inf - inf
        measured = log10(norm) - log10(left) / 2
    return beyond(np.where(norm > 0, measured, np.nan), grid)
