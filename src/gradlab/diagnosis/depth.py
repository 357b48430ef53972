"""The rules over depth: the error signal of a layer against the last one's."""

import numpy as np
import pandas as pd

from gradlab.diagnosis.cause import Attribution, attribute, expected_at, sentence, theory
from gradlab.diagnosis.chain import beyond
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.profile import decades, over_depth
from gradlab.diagnosis.record import Record

REMEDIES = {
    "vanishing": ("model.init=kaiming_normal", "model.norm=layer", "model=resmlp", "optim=adam"),
    "exploding": ("model.init=xavier_normal", "model.norm=layer", "clip=norm"),
}


def vanishing(record: Record) -> Finding | None:
    """Find layers whose error signal is, or by its factors would be, `decades` below the last's."""
    table = decades(record.depth)
    # An exact zero vanishes if the factors say so; that the dtype ran out is another sickness.
    table = beyond(table.where(np.isfinite(table)), record.depth)
    return _finding(record, "vanishing", table, table <= -record.limit("decades"))


def exploding(record: Record) -> Finding | None:
    """Find layers whose error signal is at least `decades` above the last layer's."""
    table = decades(record.depth)
    return _finding(record, "exploding", -table, table >= record.limit("decades"))


def _finding(record: Record, kind: str, lost: pd.DataFrame, holds: pd.DataFrame) -> Finding | None:
    """Make the finding; `lost` is lowest where it is worst."""
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    step, layer = _worst(lost[holds.any(axis=1)], record.depth)
    found = attribute(record.depth, step, layer)
    worst = float(lost.min(axis=1)[step])
    gross = abs(worst) >= record.limit("gross_decades")
    evidence = {"decades": found.total, "step": found.step, "layer": found.layer, **found.parts()}
    row = expected_at(record, found.layer)
    if row is not None:
        evidence |= {"theory": row[0], "theory_sd": row[1]}
    if record.fixed_point is not None:
        evidence["fixed_point"] = record.fixed_point
    return Finding(
        kind=kind,
        where=mostly(holds),
        since=since,
        severity="gross" if gross else "mild",
        cause=_cause(record, worst, found),
        evidence=evidence,
        remedies=REMEDIES[kind],
    )


def _cause(record: Record, worst: float, found: Attribution) -> str:
    """Say how the signal comes to the layer, and what is below it if it does not reach all."""
    if abs(worst) <= abs(found.total) + 1e-9:
        return sentence(record, found)
    size = "exactly 0" if np.isinf(worst) else f"0 in this dtype, {worst:+.0f} decades by factors"
    told = f"layers below {found.layer} get nothing ({size})"
    if not found.layers:
        return f"{told}, step {found.step}{theory(record, 1)}"
    return f"{told}; {sentence(record, found)}"


def _worst(lost: pd.DataFrame, layers: pd.DataFrame) -> tuple[int, int]:
    """Return the step whose worst layer is the median one of all steps, and that layer.

    Of a signal that is exactly 0 in places, the layer is the worst that it still reaches.
    """
    worst = lost.min(axis=1).sort_values(kind="stable")
    step = int(worst.index[(len(worst) - 1) // 2])
    signal = over_depth(layers, "delta_norm")
    reached = lost.loc[step][np.isfinite(signal.loc[step]) & (signal.loc[step] > 0)]
    if reached.empty:
        return step, int(lost.columns[-1])
    return step, int(reached.index.to_numpy()[reached.to_numpy().argmin()])
