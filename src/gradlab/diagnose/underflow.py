"""Zeros that the dtype has made, told apart from dead units and from a signal that is only small.

A layer's weight gradient underflows where it holds exact zeros that no dead unit explains, *and* is
of a size at which the dtype gives out. The size is that of the entries which are left; where none
is left, the one that the factors predict:

    ‖delta_l‖ = ‖delta_k‖ Π_{m=l}^{k-1} act_factor_m Π_{m=l+1}^{k} weight_factor_m

from the nearest layer k that has a signal; a factor that is 0/0 there is taken from the steps, or
else the layers, at which it is known.
"""

import numpy as np
import pandas as pd

from gradlab.diagnose.finding import Finding
from gradlab.diagnose.onset import mostly, since_when
from gradlab.diagnose.profile import log10, over_depth
from gradlab.diagnose.record import SMALLEST, Record

REACH = 30.0  # smallest numbers: a normal variable of this deviation rounds to 0 in 1% of cases
FACTORS = ("act_factor", "weight_factor", "norm_factor")


def underflow(record: Record) -> Finding | None:
    """Find layers whose gradient the dtype has rounded to 0, wholly or in good part."""
    zeros, dead = (over_depth(record.depth, name) for name in ("grad_zeros", "dead"))
    # A row of dLoss/dW is 0 for a dead unit, a column for one in the layer before.
    unexplained = zeros - dead - dead.shift(axis=1, fill_value=0.0)
    smallest = SMALLEST.get(record.dtype, SMALLEST["float32"])
    small = entries(record) <= np.log10(REACH * smallest)
    holds = (unexplained >= record.limit("zeros")) & small
    holds = holds[~record.learnt().reindex(holds.index, fill_value=False)]
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    where, share = mostly(holds), float(zeros[holds].max(axis=1).median())
    size = float(entries(record)[holds].min(axis=1).median())
    named = f"layers {where[0]} to {where[-1]}" if where else "changing layers"
    return Finding(
        kind="underflow",
        where=where,
        since=since,
        severity="gross" if share >= 0.99 else "mild",
        cause=f"{share:.0%} of the gradient of {named} is exactly 0 in {record.dtype}: its entries "
        f"are about 1e{size:.0f}, and the least it can hold is {smallest:.1e}",
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
    # Where nothing is left: as far below the nearest layer that has some as the error signal.
    known = measured.where(norm > 0)
    gained = steps_of_chain(depth)
    rising = gained.iloc[:, ::-1].cumsum(axis=1).iloc[:, ::-1]  # log10 ‖delta_l‖ / ‖delta_L‖
    nearest = (known - rising).bfill(axis=1)
    return known.fillna(nearest + rising)


def steps_of_chain(depth: pd.DataFrame) -> pd.DataFrame:
    """Return log10 ‖delta_l‖ / ‖delta_{l+1}‖ as the factors have it, by step and layer; last: 0."""
    logs = {name: _filled(log10(over_depth(depth, name))) for name in FACTORS}
    weights = logs["weight_factor"].shift(-1, axis=1, fill_value=0.0)
    inner = logs["act_factor"] + logs["norm_factor"]
    inner.iloc[:, -1] = 0.0
    return inner + weights


def _filled(logs: pd.DataFrame) -> pd.DataFrame:
    """Fill what is not finite from other steps of the layer, then from other layers."""
    finite = logs.where(np.isfinite(logs))
    return finite.fillna(finite.median()).T.fillna(finite.median(axis=1)).T.fillna(0.0)
