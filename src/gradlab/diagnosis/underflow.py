"""Zeros that the dtype has made, told apart from dead units and from a signal that is only small.

A layer's weight gradient underflows where it holds exact zeros that no dead unit explains, *and* is
of a size at which the dtype gives out. The size is that of the entries which are left; where none
is left, the one that the factors predict.
"""

import numpy as np
import pandas as pd

from gradlab.diagnosis.chain import beyond
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.places import named
from gradlab.diagnosis.profile import log10, over_depth
from gradlab.diagnosis.record import SMALLEST, Record

REACH = 30.0  # smallest numbers: a normal variable of this deviation rounds to 0 in 1% of cases


def underflow(record: Record) -> Finding | None:
    """Find layers whose gradient the dtype has rounded to 0, wholly or in good part."""
    zeros, dead = (over_depth(record.depth, name) for name in ("grad_zeros", "dead"))
    # A row of dLoss/dW is 0 for a dead unit, a column for one in the layer before.
    unexplained = zeros - dead - dead.shift(axis=1, fill_value=0.0)
    smallest = SMALLEST.get(record.dtype, SMALLEST["float32"])
    if not (unexplained >= record.limit("zeros")).any(axis=None):
        return None
    sizes = entries(record)  # -inf where a factor is 0 itself: no dtype would help
    small = np.isfinite(sizes) & (sizes <= np.log10(REACH * smallest))
    holds = (unexplained >= record.limit("zeros")) & small
    holds = holds[~record.learnt().reindex(holds.index, fill_value=False)]
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    where, share = mostly(holds), float(zeros[holds].max(axis=1).median())
    size = float(sizes[holds].min(axis=1).median())
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


def entries(record: Record) -> pd.DataFrame:
    """Return log10 of a nonzero entry of dLoss/dW_l, root mean square, as it is or should be."""
    depth = record.depth
    norm, zeros, count = (
        over_depth(depth, name) for name in ("weight_grad_norm", "grad_zeros", "weight_count")
    )
    measured = log10(norm) - log10(count * (1 - zeros)) / 2
    return beyond(measured.where(norm > 0), depth)
