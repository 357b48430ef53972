"""One pass over the runs: each is read column by column, reduced at once, and let go.

What is kept of a run is a row per layer and a few hundred points of its loss, so the memory that a
report needs grows with the number of runs and not with what they recorded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gradlab.diagnosis.profile import decades
from gradlab.errors import StoreError
from gradlab.store.load import Run, find, unreadable

SIGNALS = ("delta_norm", "weight_grad_norm")
FACTORS = ("act_factor", "weight_factor", "norm_factor")
RUN = ("decades", "weight_decades", "first_loss", "final_loss", "steps")
LOSS_POINTS = 200


@dataclass(frozen=True)
class Reduced:
    """What the figures are drawn from.

    Attributes:
        runs: a row per run: `run`, `decades` (of the error signal from last layer to first, median
            over steps; -inf for exact zeros), `weight_decades` (of the weight gradient),
            `first_loss`, `final_loss`, `steps`.
        layers: a row per run and position: for each signal and factor its mean of log10 over the
            recorded steps (of the finite, nonzero values), and for each signal the shares of steps
            at which it was exactly 0 (`_zero`) or not finite (`_inf`).
        start: the rows of step 0: `run`, `position`, and the columns that theory speaks of.
        losses: `run`, `step`, `loss`, thinned to some hundred points a run.
        damaged: a line for each run whose columns could not be read.
    """

    runs: pd.DataFrame
    layers: pd.DataFrame
    start: pd.DataFrame
    losses: pd.DataFrame
    damaged: list[str]


def gather(folder: str | Path) -> tuple[list[Run], Reduced]:
    """Find and reduce every run under `folder`; `damaged` names all that was left out.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.
    """
    found = find(folder)
    reduced = reduce(found.runs)
    whole = replace(reduced, damaged=[*found.damaged, *reduced.damaged])
    if whole.runs.empty:
        raise unreadable(folder, whole.damaged)
    return found.runs, whole


def reduce(runs: Iterable[Run]) -> Reduced:
    """Read each run once and keep what the report needs of it."""
    rows: list[dict[str, object]] = []
    layers: list[pd.DataFrame] = []
    starts: list[pd.DataFrame] = []
    losses: list[pd.DataFrame] = []
    damaged: list[str] = []
    for run in runs:
        try:
            record = run.layers(["step", "axis", "position", "preact_std", *SIGNALS, *FACTORS])
            steps = run.steps(["step", "loss"])
        except StoreError as error:
            damaged.append(str(error))
            continue
        layers.append(layer_means(record).assign(run=run.name))
        starts.append(at_start(record).assign(run=run.name))
        losses.append(thin(steps).assign(run=run.name))
        rows.append(
            {
                "run": run.name,
                "decades": lost(record),
                "weight_decades": lost(record, "weight_grad_norm"),
                "first_loss": steps["loss"].iloc[0] if len(steps) else np.nan,
                "final_loss": steps["loss"].iloc[-1] if len(steps) else np.nan,
                "steps": len(steps),
            }
        )
    return Reduced(
        pd.DataFrame(rows, columns=["run", *RUN]),
        pd.concat(layers, ignore_index=True) if layers else pd.DataFrame(),
        pd.concat(starts, ignore_index=True) if starts else pd.DataFrame(),
        pd.concat(losses, ignore_index=True) if losses else pd.DataFrame(),
        damaged,
    )


def layer_means(record: pd.DataFrame) -> pd.DataFrame:
    """Return one row per position: means of log10 over the steps, zeros and infinities apart."""
    record = record[record["axis"] == "depth"]
    positions, place = np.unique(record["position"].to_numpy(), return_inverse=True)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, len(positions))

    rows = total(np.ones(len(record)))
    out: dict[str, np.ndarray] = {"position": positions}
    for column in (*SIGNALS, *FACTORS):
        values = record[column].to_numpy(dtype=float)
        usable = np.isfinite(values) & (values > 0)
        logs = np.log10(np.where(usable, values, 1.0))
        with np.errstate(invalid="ignore"):  # 0/0: of a layer without a usable value
            out[column] = total(logs) / total(usable)
        if column in SIGNALS:
            out[f"{column}_zero"] = total(values == 0) / rows
            out[f"{column}_inf"] = total(~np.isfinite(values)) / rows
    return pd.DataFrame(out)


def at_start(record: pd.DataFrame) -> pd.DataFrame:
    """Return the layers at step 0, without the keys that they share."""
    first = record[(record["axis"] == "depth") & (record["step"] == 0)]
    return first.drop(columns=["step", "axis"])


def lost(record: pd.DataFrame, column: str = "delta_norm") -> float:
    """Return log10 ‖delta_1‖ / ‖delta_L‖, the median over the steps at which it is defined."""
    table = decades(record, column)
    if table.shape[1] < 2:
        return float("nan")
    first = table.iloc[:, 0].dropna()
    return float(first.median()) if len(first) else float("nan")


def thin(steps: pd.DataFrame) -> pd.DataFrame:
    """Return at most `LOSS_POINTS` rows, evenly spaced, the last one always among them."""
    stride = max(1, -(-len(steps) // LOSS_POINTS))
    return steps.iloc[::-1].iloc[::stride].iloc[::-1]
