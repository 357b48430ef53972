"""The rules over time: the gradient of a recurrent layer's state, against that of the last step.

The state is h_t; of a gated layer it is its cell c_t, whose gate lets the gradient pass beside the
recurrent weights: an LSTM's ‖dLoss/dh_t‖ is small wherever these are, however much of it survives.
The parts of a cause sum to the whole:

    log10 ‖dLoss/dh_t‖ / ‖dLoss/dh_T‖ = Σ log10 act_factor + log10 norm_factor
                                        + log10 weight_factor + what comes beside them
    log10 ‖dLoss/dc_t‖ / ‖dLoss/dc_T‖ = Σ log10 weight_factor, of its gate,
                                        + what comes by way of the recurrent weights
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.grid import (
    Grid,
    first_lasting,
    log10,
    measurements,
    relative,
    usual_positions,
)
from gradlab.diagnosis.record import Record

REMEDIES = {
    "vanishing": ("model=lstm", "model=gru", "model.init=orthogonal", "optim=adam"),
    "exploding": ("clip=norm", "model=lstm", "model.init=orthogonal", "optim.lr=0.01"),
}
PARTS = {
    "time": {
        "activation": "act_factor",
        "weights": "weight_factor",
        "normalisation": "norm_factor",
    },
    "cell": {"gate": "weight_factor"},
}
"""What a state's gradient passes through, by axis, and the columns that say how much is left."""


def vanishing_in_time(record: Record) -> Finding | None:
    """Find steps at which ‖dLoss/dh_t‖ is `decades` below that of the last step."""
    return _worst(record, "vanishing", -1.0)


def exploding_in_time(record: Record) -> Finding | None:
    """Find steps at which ‖dLoss/dh_t‖ is `decades` above that of the last step."""
    return _worst(record, "exploding", 1.0)


def _worst(record: Record, kind: str, sign: float) -> Finding | None:
    """Return what is found of the layer in which it is worst."""
    found = [_of_layer(record, *state, kind, sign) for state in _states(record.layers)]
    return max(filter(None, found), key=lambda f: abs(f.evidence["decades"]), default=None)


def _states(layers: pd.DataFrame) -> Iterator[tuple[str, str, Grid]]:
    """Yield each recurrent layer's name, the axis of its state, and the state's rows."""
    rows = layers[layers["axis"].isin(PARTS)]
    names = rows["module"] if "module" in rows else pd.Series("the recurrent layer", rows.index)
    for name, its in rows.groupby(names, sort=False):
        axis = "cell" if (its["axis"] == "cell").any() else "time"
        yield str(name), axis, Grid(its, ~np.isnan(measurements(its, "act_grad_norm")[0]), axis)


def _of_layer(
    record: Record, site: str, axis: str, grid: Grid, kind: str, sign: float
) -> Finding | None:
    gained = sign * relative(grid["act_grad_norm"])
    holds = gained >= record.limit("decades")
    since = first_lasting(holds.any(axis=1), grid.steps)
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
        **_parts(grid, axis, row, column, total),
    }
    nothing = kind == "vanishing" and bool(np.isposinf(gained[row]).any())
    gross = nothing or abs(total) >= record.limit("gross_decades")
    return Finding(
        kind=kind,
        where=usual_positions(holds, grid.positions),
        since=since,
        severity="gross" if gross else "mild",
        cause=_cause(site, axis, evidence, grid, nothing),
        evidence=evidence,
        remedies=(*_open_gate(record, axis, kind, int(grid.positions[-1])), *REMEDIES[kind]),
        axis="time",
    )


def _parts(grid: Grid, axis: str, row: int, column: int, total: float) -> dict[str, float]:
    """Return the decades of each factor between the last step and the one in `column`.

    What is left of all is `beside`, if it is more than rounding: what comes through a gate of h
    itself, from targets of earlier steps, from a layer above, or to a cell by way of h and V.
    """
    logs = {
        part: float(log10(grid[name])[row, column + 1 :].sum())
        for part, name in PARTS[axis].items()
    }
    found = {part: value for part, value in logs.items() if np.isfinite(value)}
    beside = total - sum(found.values())
    known = len(found) == len(logs) and abs(beside) > 1e-3
    return found | ({"beside": beside} if known else {})


def _open_gate(record: Record, axis: str, kind: str, last: int) -> tuple[str, ...]:
    """Return the forget bias by which an LSTM keeps 1 - 1/T a step (Tallec & Ollivier 2018)."""
    needed = round(math.log(max(last - 1, 1)), 1)
    held = record.config.get("model.forget_bias")
    if axis != "cell" or kind != "vanishing" or held is None or held >= needed:
        return ()
    return (f"model.forget_bias={needed:g}",)


def _cause(site: str, axis: str, evidence: dict[str, float], grid: Grid, nothing: bool) -> str:
    first, last = int(evidence["time"]), int(grid.positions[-1])
    place = f"{'the cell of ' if axis == 'cell' else ''}{site}, step {int(evidence['step'])}"
    zero = f"steps before {first} get nothing (exactly 0)"
    if nothing and first == last:
        return f"{zero} in {place}"
    gated = np.isnan(grid["saturated"]).all()  # gates have no derivative to be small
    words = {
        "weights": "the recurrent weights",
        "activation": "the gates" if gated else "the activation",
        "normalisation": "normalisation",
        "gate": "its gate",
        "beside": "by way of the weights" if axis == "cell" else "what comes beside them",
    }
    told = ", ".join(
        f"{words[part]} {evidence[part]:+.1f} ({evidence[part] / (last - first):+.2f} a step)"
        for part in sorted(words, key=lambda part: -abs(evidence.get(part, 0.0)))
        if abs(evidence.get(part, 0.0)) >= 0.05
    )
    begin = f"{zero}; " if nothing else ""
    where = f"from time {last} to time {first} in {place}"
    return f"{begin}{evidence['decades']:+.1f} decades {where}{': ' if told else ''}{told}"
