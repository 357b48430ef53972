"""The rules over depth: the error signal of a layer against the last one's."""

import numpy as np

from gradlab.diagnosis.cause import Attribution, attribute, expected_at, sentence, theory
from gradlab.diagnosis.chain import beyond
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.profile import relative
from gradlab.diagnosis.record import Record

REMEDIES = {
    "vanishing": ("model.init=kaiming_normal", "model.norm=layer", "model=resmlp", "optim=adam"),
    "exploding": ("model.init=xavier_normal", "model.norm=layer", "clip=norm"),
}


def vanishing(record: Record) -> Finding | None:
    """Find layers whose error signal is, or by its factors would be, `decades` below the last's."""
    table = relative(record.depth["delta_norm"])
    # An exact zero vanishes if the factors say so; that the dtype ran out is another sickness.
    table = beyond(np.where(np.isfinite(table), table, np.nan), record.depth)
    return _finding(record, "vanishing", table, table <= -record.limit("decades"))


def exploding(record: Record) -> Finding | None:
    """Find layers whose error signal is at least `decades` above the last layer's."""
    table = relative(record.depth["delta_norm"])
    return _finding(record, "exploding", -table, table >= record.limit("decades"))


def _finding(record: Record, kind: str, lost: np.ndarray, holds: np.ndarray) -> Finding | None:
    """Make the finding; `lost` [step, layer] is lowest where it is worst."""
    grid = record.depth
    since = since_when(holds.any(axis=1), grid.steps)
    if since is None:
        return None
    row, column = _worst(lost, holds, grid["delta_norm"])
    found = attribute(grid, int(grid.steps[row]), int(grid.positions[column]))
    worst = float(np.nanmin(lost[row]))
    gross = abs(worst) >= record.limit("gross_decades")
    evidence = {"decades": found.total, "step": found.step, "layer": found.layer, **found.parts()}
    row = expected_at(record, found.layer)
    if row is not None:
        evidence |= {"theory": row[0], "theory_sd": row[1]}
    if record.fixed_point is not None:
        evidence["fixed_point"] = record.fixed_point
    return Finding(
        kind=kind,
        where=mostly(holds, grid.positions),
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


def _worst(lost: np.ndarray, holds: np.ndarray, signal: np.ndarray) -> tuple[int, int]:
    """Return the row whose worst layer is the median one of all that hold, and that layer's column.

    Of a signal that is exactly 0 in places, the layer is the worst that it still reaches.
    """
    rows = np.flatnonzero(holds.any(axis=1))
    order = np.nanmin(lost[rows], axis=1).argsort(kind="stable")
    row = int(rows[order[(len(rows) - 1) // 2]])
    reached = np.flatnonzero(np.isfinite(signal[row]) & (signal[row] > 0))
    if not len(reached):
        return row, lost.shape[1] - 1
    return row, int(reached[lost[row, reached].argmin()])
