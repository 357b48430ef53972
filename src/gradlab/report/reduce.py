"""One pass over the runs: each is read column by column, reduced at once, and let go.

What is kept of a run is a row per layer and a few hundred points of its loss, so the memory that a
report needs grows with the number of runs and not with what they recorded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gradlab.diagnosis.grid import Grid, gained
from gradlab.errors import StoreError
from gradlab.results.load import Run, find, unreadable
from gradlab.results.nullable import numpy_floats, values_and_mask

SIGNALS = ("delta_norm", "weight_grad_norm")
STATE = "act_grad_norm"  # of a recurrent layer's h_t, or its cell's c_t, at each time step
FACTORS = ("act_factor", "weight_factor", "norm_factor")
RUN = ("layers", "decades", "weight_decades", "time_decades", "first_loss", "final_loss", "steps")
LOSS_POINTS = 200


@dataclass(frozen=True)
class Reduced:
    """What the figures are drawn from.

    Attributes:
        runs: a row per run: `run`, `layers` (how many), `decades` (of the error signal from last
            layer to first, median over steps; -inf for exact zeros), `weight_decades` (of the
            weight gradient), `time_decades` (of the state's gradient from the last time step to the
            first, in the last recurrent layer; NaN without one), `first_loss`, `final_loss`,
            `steps`.
        layers: a row per run and position: for each signal and factor its mean of log10 over the
            recorded steps (of the finite, nonzero values), and for each signal the shares of steps
            at which it was exactly 0 (`_zero`) or not finite (`_inf`).
        start: the rows of step 0: `run`, `position`, and the columns that theory speaks of.
        time: a row per run and time step of its last recurrent layer, as `layers`, of the gradient
            of the state, which of a gated one is its cell; empty if there is none.
        losses: `run`, `step`, `loss`, thinned to some hundred points a run.
        damaged: a line for each run whose columns could not be read.
    """

    runs: pd.DataFrame
    layers: pd.DataFrame
    start: pd.DataFrame
    time: pd.DataFrame
    losses: pd.DataFrame
    damaged: list[str]


def reduce_folder(folder: str | Path, drawn: bool = True) -> tuple[list[Run], Reduced]:
    """Find and reduce every run under `folder`; `damaged` names all that was left out.

    What only figures need is read if they are to be drawn.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.
    """
    found = find(folder)
    reduced = reduce_runs(found.runs, drawn)
    whole = replace(reduced, damaged=[*found.damaged, *reduced.damaged])
    if whole.runs.empty:
        raise unreadable(folder, whole.damaged)
    return found.runs, whole


def reduce_runs(runs: Iterable[Run], drawn: bool = True) -> Reduced:
    """Read each run once and keep what the report needs of it."""
    rows: list[dict[str, object]] = []
    parts: dict[str, dict[str, pd.DataFrame]] = {
        name: {} for name in ("layers", "start", "time", "losses")
    }
    damaged: list[str] = []
    columns = ["step", "axis", "position", *SIGNALS, *(("preact_std", *FACTORS) if drawn else ())]
    for run in runs:
        try:
            record, steps = run.layers(columns), run.steps(["step", "loss"])
            states = read_states(run) if (record["axis"] == "time").any() else None
        except StoreError as error:
            damaged.append(str(error))
            continue
        through = {"time_decades": np.nan if states is None else gained(states.grid, STATE)}
        rows.append(
            {"run": run.name, **run_summary(Grid(rows_with_signal(run, record)), steps), **through}
        )
        if drawn:
            parts["layers"][run.name] = layer_means(record, missing=is_watched(run))
            parts["start"][run.name] = at_start(record)
            parts["losses"][run.name] = thin_losses(steps)
        if drawn and states is not None:
            parts["time"][run.name] = layer_means(states.rows, states.axis, [STATE], [])
    stacked = {name: _stacked(frames) for name, frames in parts.items()}
    return Reduced(pd.DataFrame(rows, columns=["run", *RUN]), **stacked, damaged=damaged)


class States(NamedTuple):
    """The rows over time of the last recurrent layer's state, and the axis of these."""

    rows: pd.DataFrame
    axis: str

    @property
    def grid(self) -> Grid:
        """The same by recorded step and time step."""
        return Grid(self.rows, axis=self.axis)


def read_states(run: Run) -> States:
    """Read the rows of the state of a run's last recurrent layer: its cell's, if it has one."""
    rows = run.layers(["step", "axis", "position", "module", STATE])
    last = rows[rows["module"] == rows["module"][rows["axis"] == "time"].iloc[-1]]
    return States(last, "cell" if (last["axis"] == "cell").any() else "time")


def is_watched(run: Run) -> bool:
    """Say whether a run is of a network that gradlab did not build: some modules have no signal."""
    return bool(run.info.get("watched"))


def rows_with_signal(run: Run, record: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the modules that have a signal: all, in gradlab's own networks."""
    return record[record["delta_norm"].notna()] if is_watched(run) else record


def run_summary(grid: Grid, steps: pd.DataFrame) -> dict[str, float]:
    """Return the numbers of a run that have a column of their own in `Reduced.runs`."""
    loss, _ = values_and_mask(steps, "loss")
    return {
        "layers": len(grid.positions),
        "decades": gained(grid),
        "weight_decades": gained(grid, "weight_grad_norm"),
        "first_loss": loss[0] if len(loss) else np.nan,
        "final_loss": loss[-1] if len(loss) else np.nan,
        "steps": len(loss),
    }


def _stacked(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the frames as one, with the name of each in the column `run`."""
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, names=["run", None]).reset_index("run").reset_index(drop=True)


def layer_means(
    record: pd.DataFrame,
    axis: str = "depth",
    signals: Sequence[str] = SIGNALS,
    factors: Sequence[str] = FACTORS,
    missing: bool = False,
) -> pd.DataFrame:
    """Return one row per position: means of log10 over the steps, zeros and infinities apart.

    A null is not counted as a value that is not finite. `missing`: NaN in a NumPy column, which
    cannot hold null, is a null too.
    """
    record = record[record["axis"] == axis]
    positions, place = np.unique(record["position"].to_numpy(), return_inverse=True)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, len(positions))

    rows = total(np.ones(len(record)))
    out: dict[str, np.ndarray] = {"position": positions}
    for column in (*signals, *factors):
        values, null = values_and_mask(record, column)
        if missing and isinstance(record[column].dtype, np.dtype):
            null = np.isnan(values)
        usable = np.isfinite(values) & (values > 0)
        logs = np.log10(np.where(usable, values, 1.0))
        with np.errstate(invalid="ignore"):  # 0/0: of a layer without a usable value
            out[column] = total(logs) / total(usable)
        if column in signals:
            out[f"{column}_zero"] = total(values == 0) / rows
            out[f"{column}_inf"] = total(~np.isfinite(values) & ~null) / rows
    return pd.DataFrame(out)


def at_start(record: pd.DataFrame) -> pd.DataFrame:
    """Return the layers at step 0, without the keys that they share."""
    first = record[(record["axis"] == "depth") & (record["step"] == 0)]
    return numpy_floats(first.drop(columns=["step", "axis"]))


def thin_losses(steps: pd.DataFrame) -> pd.DataFrame:
    """Return at most `LOSS_POINTS` rows, evenly spaced, the last one always among them."""
    stride = max(1, -(-len(steps) // LOSS_POINTS))
    return numpy_floats(steps.iloc[::-1].iloc[::stride].iloc[::-1])
