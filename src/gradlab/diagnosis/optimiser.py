"""The rules that need the configuration: Adam's eps, and clipping that never or always acts."""

import numpy as np

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.places import named
from gradlab.diagnosis.profile import median
from gradlab.diagnosis.record import Record

NORMALISING = ("adam", "adamw", "rmsprop")
ALWAYS = 0.95  # of the steps


def below_eps(record: Record) -> Finding | None:
    """Find layers whose gradient is below the eps of an optimiser that divides by its size.

    Entry by entry, lr g / (|g| + eps) is lr above eps, and lr g / eps below it: the layer learns
    slower than the optimiser is meant to let it, by eps / |g|.
    """
    eps = record.config.get("optim.eps")
    if record.config.get("optim") not in NORMALISING or not eps:
        return None
    grid, done = record.depth, record.learnt(record.depth.steps)
    factor = record.at(grid.steps, "clip_factor")[:, None]
    clipped = grid["weight_grad_norm"] * np.where(np.isnan(factor), 1.0, factor)
    size = clipped / np.sqrt(grid["weight_count"])
    holds = (size < eps) & (size > 0) & ~done[:, None]
    rows = holds.any(axis=1)
    since = since_when(rows[~done], grid.steps[~done])
    if since is None:
        return None
    ratio = median(np.where(holds, size, np.inf).min(axis=1)[rows]) / eps
    where = mostly(holds, grid.positions)
    return Finding(
        kind="below_eps",
        where=where,
        since=since,
        severity="gross" if ratio < 0.01 else "mild",
        cause=f"the gradient's entries are {ratio:.1g} of {record.config['optim']}'s "
        f"eps={eps:g} in {named(where)}: it is divided by eps, not by its own size, and the "
        "weights hardly move",
        evidence={"ratio": ratio},
        remedies=(f"optim.eps={eps * ratio * 1e-3:.0e}",),
    )


def clipping(record: Record) -> Finding | None:
    """Note clipping that never acts, or that always does, and so is a part of the learning rate."""
    name = record.config.get("clip", "none")
    factor = record.over_steps("clip_factor")
    factor = factor[np.isfinite(factor)]
    if name == "none" or len(factor) < 2:
        return None
    acted = float((factor < 1).mean())
    if 0 < acted < ALWAYS:
        return None
    often = f"clip={name} acted in {acted:.0%} of {len(factor)} steps"
    typical = float(factor.median())
    told = (
        "never: it can be left out"
        if acted == 0
        else f"and left {typical:.2g} of the gradient's norm: in effect a smaller learning rate"
    )
    return Finding(
        kind="clipping",
        where=(),
        since=int(factor.index[0]),
        severity="note",
        cause=f"{often}, {told}" if acted else f"clip={name} {told}",
        evidence={"acted": acted, "clip_factor": typical},
        remedies=("clip=none",) if acted == 0 else (),
    )
