"""The rules over time: dLoss/dh_t of a recurrent layer, at each step against the last one."""

import numpy as np
import pandas as pd

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.profile import Grid, log10, relative
from gradlab.diagnosis.record import Record

REMEDIES = {
    "vanishing": ("model=lstm", "model=gru", "model.init=orthogonal", "optim=adam"),
    "exploding": ("clip=norm", "model=lstm", "model.init=orthogonal", "optim.lr=0.01"),
}


def vanishing_in_time(record: Record) -> Finding | None:
    """Find steps at which ‖dLoss/dh_t‖ is `decades` below that of the last step."""
    return _worst(record, "vanishing", -1.0)


def exploding_in_time(record: Record) -> Finding | None:
    """Find steps at which ‖dLoss/dh_t‖ is `decades` above that of the last step."""
    return _worst(record, "exploding", 1.0)


def _worst(record: Record, kind: str, sign: float) -> Finding | None:
    """Return what is found of the layer in which it is worst."""
    time = record.layers[record.layers["axis"] == "time"]
    names = time["site"] if "site" in time else pd.Series("the recurrent layer", time.index)
    layers = time.groupby(names, sort=False)
    found = [_of_layer(record, str(name), rows, kind, sign) for name, rows in layers]
    return max(filter(None, found), key=lambda f: abs(f.evidence["decades"]), default=None)


def _of_layer(
    record: Record, site: str, rows: pd.DataFrame, kind: str, sign: float
) -> Finding | None:
    grid = Grid(rows, rows["act_grad_norm"].notna().to_numpy(), axis="time")
    gained = sign * relative(grid["act_grad_norm"])
    holds = gained >= record.limit("decades")
    since = since_when(holds.any(axis=1), grid.steps)
    if since is None:
        return None
    seen = np.flatnonzero(holds.any(axis=1))
    # An exact zero has no decades: of what the dtype still holds, the furthest.
    finite = np.where(np.isfinite(gained), gained, -np.inf)
    order = finite[seen].max(axis=1).argsort(kind="stable")
    row = int(seen[order[(len(seen) - 1) // 2]])
    column = int(finite[row].argmax())
    total = float(relative(grid["act_grad_norm"])[row, column])
    evidence = {
        "decades": total,
        "step": float(grid.steps[row]),
        "time": float(grid.positions[column]),
        **_parts(grid, row, column),
    }
    return Finding(
        kind=kind,
        where=mostly(holds, grid.positions),
        since=since,
        severity="gross" if abs(total) >= record.limit("gross_decades") else "mild",
        cause=_cause(site, evidence, grid),
        evidence=evidence,
        remedies=REMEDIES[kind],
        axis="time",
    )


def _parts(grid: Grid, row: int, column: int) -> dict[str, float]:
    """Return the decades of each factor between the last step and the one in `column`."""
    names = {"activation": "act_factor", "weights": "weight_factor", "normalisation": "norm_factor"}
    logs = {part: log10(grid[name])[row, column + 1 :].sum() for part, name in names.items()}
    return {part: float(value) for part, value in logs.items() if np.isfinite(value)}


def _cause(site: str, evidence: dict[str, float], grid: Grid) -> str:
    first, last = int(evidence["time"]), int(grid.positions[-1])
    gated = np.isnan(grid["saturated"]).all()  # gates have no derivative to be small
    words = {
        "weights": "the recurrent weights",
        "activation": "the gates" if gated else "the activation",
        "normalisation": "normalisation",
    }
    told = ", ".join(
        f"{words[part]} {evidence[part]:+.1f} ({evidence[part] / max(last - first, 1):+.2f} a step)"
        for part in sorted(words, key=lambda part: -abs(evidence.get(part, 0.0)))
        if abs(evidence.get(part, 0.0)) >= 0.05
    )
    where = f"from time {last} to time {first} in {site}, step {int(evidence['step'])}"
    return f"{evidence['decades']:+.1f} decades {where}{': ' if told else ''}{told}"
