"""The rules over depth: the error signal of a layer against the last one's."""

import numpy as np
import pandas as pd

from gradlab.diagnose.cause import attribute, expected_at, sentence
from gradlab.diagnose.finding import Finding
from gradlab.diagnose.onset import mostly, since_when
from gradlab.diagnose.profile import decades
from gradlab.diagnose.record import Record

REMEDIES = {
    "vanishing": ("model.init=kaiming_normal", "model.norm=layer", "model=resmlp", "optim=adam"),
    "exploding": ("model.init=xavier_normal", "model.norm=layer", "clip=norm"),
}


def vanishing(record: Record) -> Finding | None:
    """Find layers whose error signal is at least `decades` below the last layer's."""
    table = decades(record.depth)
    return _finding(record, "vanishing", table, table <= -record.limit("decades"))


def exploding(record: Record) -> Finding | None:
    """Find layers whose error signal is at least `decades` above the last layer's."""
    table = decades(record.depth)
    return _finding(record, "exploding", -table, table >= record.limit("decades"))


def _finding(record: Record, kind: str, lost: pd.DataFrame, holds: pd.DataFrame) -> Finding | None:
    """Make the finding; `lost` is lowest where it is worst, -inf where the signal is exactly 0."""
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    step, layer = _worst(lost[holds.any(axis=1)])
    zeros = bool(np.isinf(lost.loc[step]).any())
    found = attribute(record.depth, step, layer)
    told = sentence(record, found)
    if zeros and kind == "vanishing":
        below = int(lost.columns[np.isinf(lost.loc[step])].max())
        told = f"exact zeros up to layer {below}" + (f", and {told}" if found.layers else "")
    gross = zeros or abs(found.total) >= record.limit("gross_decades")
    evidence = {"decades": found.total, "step": found.step, "layer": found.layer, **found.parts()}
    theory = expected_at(record, found.layer)
    if theory is not None:
        evidence |= {"theory": theory[0], "theory_sd": theory[1]}
    if record.fixed_point is not None:
        evidence["fixed_point"] = record.fixed_point
    return Finding(
        kind=kind,
        where=mostly(holds),
        since=since,
        severity="gross" if gross else "mild",
        cause=told,
        evidence=evidence,
        remedies=REMEDIES[kind],
    )


def _worst(lost: pd.DataFrame) -> tuple[int, int]:
    """Return the step whose worst layer is the median one of all steps, and that layer.

    Of a signal that is exactly 0 in places, the layer is the last one that it still reaches.
    """
    worst = lost.min(axis=1).sort_values(kind="stable")
    step = worst.index[(len(worst) - 1) // 2]
    row = lost.loc[step]
    finite = row[np.isfinite(row)]
    layer = finite.index.max() if finite.empty else finite.idxmin()
    return int(step), int(lost.columns[-1] if finite.empty else layer)
