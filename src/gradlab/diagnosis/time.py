"""The rules over time: the gradient of a recurrent layer's state against its last time step.

The state is h_t for an RNN, and the cell state for a gated layer: c_t for an LSTM, h_t for a GRU.
A gate passes the gradient of the cell state on, without the recurrent weights V. So an LSTM's
‖dLoss/dh_t‖ is small where V is small, even if the cell passes the gradient on.

The factors in a cause sum to the whole change:

    log10 ‖dLoss/dh_t‖ / ‖dLoss/dh_T‖ = Σ log10 act_factor + log10 norm_factor
                                        + log10 weight_factor + other paths
    log10 ‖dLoss/dc_t‖ / ‖dLoss/dc_T‖ = Σ log10 weight_factor (of the gate)
                                        + the path through h and V
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlab.diagnosis.advice import SMALLER_RATE
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
from gradlab.diagnosis.sentences import change_text, factors_text, join_sentence

REMEDIES = {
    "vanishing": ("model=lstm", "model=gru", "model.init=orthogonal", "optim=adam"),
    "exploding": ("clip=norm", "model=lstm", "model.init=orthogonal", SMALLER_RATE),
}
PARTS = {
    "time": {
        "activation": "act_factor",
        "weights": "weight_factor",
        "normalisation": "norm_factor",
    },
    "cell": {"gate": "weight_factor"},
}
"""By axis, the columns of the factors by which a time step changes the gradient of the state."""


@dataclass(frozen=True)
class State:
    """The state of a recurrent layer: name of the layer, "time" or "cell", and rows over time."""

    module: str
    axis: str
    grid: Grid


def vanishing_in_time(record: Record) -> Finding | None:
    """Find time steps at which ‖dLoss/dh_t‖ is `decades` below its value at the last one."""
    return _worst(record, "vanishing", -1.0)


def exploding_in_time(record: Record) -> Finding | None:
    """Find time steps at which ‖dLoss/dh_t‖ is `decades` above its value at the last one."""
    return _worst(record, "exploding", 1.0)


def _worst(record: Record, kind: str, sign: float) -> Finding | None:
    """Return the finding of the layer with the largest change.

    Args:
        record: The record of the run.
        kind: "vanishing" or "exploding".
        sign: -1 for a fall, 1 for a rise.

    Returns:
        The finding; None if no layer has one.
    """
    findings = [_examine(record, state, kind, sign) for state in _states(record.layers)]
    return max(filter(None, findings), key=lambda f: abs(f.evidence["decades"]), default=None)


def _states(layers: pd.DataFrame) -> Iterator[State]:
    rows = layers[layers["axis"].isin(PARTS)]
    names = rows["module"] if "module" in rows else pd.Series("the recurrent layer", rows.index)
    for name, group in rows.groupby(names, sort=False):
        axis = "cell" if (group["axis"] == "cell").any() else "time"
        measured = ~np.isnan(measurements(group, "act_grad_norm")[0])
        yield State(str(name), axis, Grid(group, measured, axis))


def _examine(record: Record, state: State, kind: str, sign: float) -> Finding | None:
    """Return the finding of one layer.

    Args:
        record: The record of the run.
        state: The state of the layer.
        kind: "vanishing" or "exploding".
        sign: -1 for a fall, 1 for a rise.

    Returns:
        The finding; None if the layer has none.
    """
    grid = state.grid
    gained = sign * relative(grid["act_grad_norm"])
    holds = gained >= record.limit("decades")
    since = first_lasting(holds.any(axis=1), grid.steps)
    if since is None:
        return None
    rows = np.flatnonzero(holds.any(axis=1))
    # An exact zero has no decades: use the furthest time step that the dtype can still hold.
    finite = np.where(np.isfinite(gained), gained, -np.inf)
    order = finite[rows].max(axis=1).argsort(kind="stable")
    row = int(rows[order[(len(rows) - 1) // 2]])
    column = int(finite[row].argmax())
    total = float(relative(grid["act_grad_norm"])[row, column])
    evidence = {
        "decades": total,
        "step": float(grid.steps[row]),
        "time": float(grid.positions[column]),
        **_parts(state, row, column, total),
    }
    zeros = kind == "vanishing" and bool(np.isposinf(gained[row]).any())
    severe = zeros or abs(total) >= record.limit("severe_decades")
    return Finding(
        kind=kind,
        where=usual_positions(holds, grid.positions),
        since=since,
        severity="severe" if severe else "mild",
        cause=_cause(state, evidence, zeros),
        evidence=evidence,
        remedies=(*_open_gate(record, state, kind), *REMEDIES[kind]),
        axis="time",
    )


def _parts(state: State, row: int, column: int, total: float) -> dict[str, float]:
    """Return the decades of each factor between the last time step and an earlier one.

    The remainder is `beside`, if it is more than rounding. It arrives through a GRU's gate, from
    targets of earlier time steps, from a layer above, or at a cell through h and V.

    Args:
        state: The state of the layer.
        row: Row of the recorded step in the grid.
        column: Column of the earlier time step in the grid.
        total: Decades of the whole change.

    Returns:
        Decades by part.
    """
    logs = {
        part: float(log10(state.grid[name])[row, column + 1 :].sum())
        for part, name in PARTS[state.axis].items()
    }
    finite = {part: value for part, value in logs.items() if np.isfinite(value)}
    rest = total - sum(finite.values())
    known = len(finite) == len(logs) and abs(rest) > 1e-3
    return finite | ({"beside": rest} if known else {})


def _open_gate(record: Record, state: State, kind: str) -> tuple[str, ...]:
    """Return the forget bias with which an LSTM keeps 1 - 1/T a step (Tallec & Ollivier 2018).

    Args:
        record: The record of the run.
        state: The state of the layer.
        kind: "vanishing" or "exploding".

    Returns:
        An override, or nothing if the bias would not help.
    """
    needed = round(math.log(max(int(state.grid.positions[-1]) - 1, 1)), 1)
    bias = record.config.get("model.forget_bias")
    if state.axis != "cell" or kind != "vanishing" or bias is None or bias >= needed:
        return ()
    return (f"model.forget_bias={needed:g}",)


def _cause(state: State, evidence: dict[str, float], zeros: bool) -> str:
    """Return the sentence of a finding.

    Args:
        state: The state of the layer.
        evidence: The change, its step and time step, and the decades of its factors.
        zeros: Whether the gradient is exactly 0 at earlier time steps.

    Returns:
        The measurement and the factors behind it.
    """
    first, last = int(evidence["time"]), int(state.grid.positions[-1])
    cell = state.axis == "cell"
    gradient = f"the gradient of the {'cell ' if cell else ''}state of {state.module}"
    step = f"at step {int(evidence['step'])}"
    if zeros and first == last:
        return f"{gradient} is exactly 0 before time step {first}, {step}"
    gated = np.isnan(state.grid["saturated"]).all()  # gates have no derivative to be small
    names = {
        "weights": "the recurrent weights",
        "activation": "the gates" if gated else "the activation's derivative",
        "normalisation": "normalisation",
        "gate": "the gate",
        "beside": "the path through the hidden state" if cell else "the other paths",
    }
    factors = {names[part]: evidence[part] for part in names if part in evidence}
    below = " and is exactly 0 before it" if zeros else ""
    change = f"{change_text(evidence['decades'])} from time step {last} to time step {first}"
    reason = factors_text(factors, last - first, "time step", "the gradient")
    return join_sentence(f"{gradient} {change}{below}, {step}", reason)
