"""Read each run once and reduce it to the summaries that the report needs.

A summary has a row per layer and at most 200 points of the loss. The memory of a report therefore
grows with the number of runs, but not with the number of recorded steps.
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
STATE = "act_grad_norm"  # in rows over time: ‖dLoss/dh_t‖, or ‖dLoss/dc_t‖ of a gated cell
FACTORS = ("act_factor", "weight_factor", "norm_factor")
RUN = ("layers", "decades", "weight_decades", "time_decades", "first_loss", "final_loss", "steps")
LOSS_POINTS = 200


@dataclass(frozen=True)
class Reduced:
    """The summaries of all runs, from which figures and tables are made.

    Attributes:
        runs: a row per run. `run`; `layers`, the number of layers; `first_loss`, `final_loss`;
            `steps`, the number of steps. `decades` of the error signal from last layer to first:
            the median over steps, -inf for exact zeros. `weight_decades`, the same for the weight
            gradient. `time_decades` of the state's gradient from last time step to first, in the
            last recurrent layer; NaN without one.
        layers: a row per run and position. For each signal and factor, the mean of log10 over the
            recorded steps where it is finite and not 0. For each signal, the shares of steps at
            which it was exactly 0 (`_zero`) or not finite (`_inf`).
        start: the rows of step 0: `run`, `position`, and the columns that theory predicts.
        time: a row per run and time step, with the columns of `layers` for the gradient of the
            state in the last recurrent layer. The state of a gated layer is its cell.
        losses: `run`, `step`, `loss`; at most 200 rows per run.
        damaged: a line for each run that could not be read.
    """

    runs: pd.DataFrame
    layers: pd.DataFrame
    start: pd.DataFrame
    time: pd.DataFrame
    losses: pd.DataFrame
    damaged: list[str]


def reduce_folder(folder: str | Path, drawn: bool = True) -> tuple[list[Run], Reduced]:
    """Find and reduce every run in a folder and its subfolders.

    Args:
        folder: the folder.
        drawn: whether figures will be drawn. If not, the data that only figures need is not read.

    Returns:
        The runs, and their summaries.

    Raises:
        StoreError: the folder is missing, or contains no run that can be read.
    """
    folder_content = find(folder)
    reduced = reduce_runs(folder_content.runs, drawn)
    reduced = replace(reduced, damaged=[*folder_content.damaged, *reduced.damaged])
    if reduced.runs.empty:
        raise unreadable(folder, reduced.damaged)
    return folder_content.runs, reduced


def reduce_runs(runs: Iterable[Run], drawn: bool = True) -> Reduced:
    """Read each run once and return the summaries that the report needs."""
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
        summary = run_summary(Grid(rows_with_signal(run, record)), steps)
        summary["time_decades"] = np.nan if states is None else gained(states.grid, STATE)
        rows.append({"run": run.name, **summary})
        if drawn:
            parts["layers"][run.name] = layer_means(record)
            parts["start"][run.name] = at_start(record)
            parts["losses"][run.name] = thin_losses(steps)
        if drawn and states is not None:
            parts["time"][run.name] = layer_means(states.rows, states.axis, [STATE], [])
    stacked = {name: _stacked(frames) for name, frames in parts.items()}
    return Reduced(pd.DataFrame(rows, columns=["run", *RUN]), **stacked, damaged=damaged)


class States(NamedTuple):
    """The state of a run's last recurrent layer over time.

    Attributes:
        rows: the rows of the layer.
        axis: "cell" for a layer with a cell, else "time".
    """

    rows: pd.DataFrame
    axis: str

    @property
    def grid(self) -> Grid:
        """The rows as a grid of recorded steps and time steps."""
        return Grid(self.rows, axis=self.axis)


def read_states(run: Run) -> States:
    """Read the state of a run's last recurrent layer: its cell if it has one, else h_t."""
    rows = run.layers(["step", "axis", "position", "module", STATE])
    last = rows[rows["module"] == rows["module"][rows["axis"] == "time"].iloc[-1]]
    return States(last, "cell" if (last["axis"] == "cell").any() else "time")


def is_watched(run: Run) -> bool:
    """Return whether the run was recorded by `gradlab.watch`."""
    return bool(run.info.get("watched"))


def rows_with_signal(run: Run, record: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of modules with an error signal. In watched networks some have none."""
    return record[record["delta_norm"].notna()] if is_watched(run) else record


def run_summary(grid: Grid, steps: pd.DataFrame) -> dict[str, float]:
    """Compute the columns of `Reduced.runs` from the layers and the loss of a run."""
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
    """Concatenate frames by run, with the name of the run in the column `run`."""
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, names=["run", None]).reset_index("run").reset_index(drop=True)


def layer_means(
    record: pd.DataFrame,
    axis: str = "depth",
    signals: Sequence[str] = SIGNALS,
    factors: Sequence[str] = FACTORS,
) -> pd.DataFrame:
    """Average log10 of each column over the recorded steps.

    Args:
        record: rows as in `layers.parquet`.
        axis: the axis whose rows are averaged.
        signals: columns for which zeros and values that are not finite are counted too.
        factors: other columns to average.

    Returns:
        A row per position. Each mean is over the finite values above 0, and NaN without any. For
        each signal, `_zero` is the share of steps with exactly 0, `_inf` the share of steps with
        NaN or an infinity. A null counts as neither.
    """
    record = record[record["axis"] == axis]
    positions, index = np.unique(record["position"].to_numpy(), return_inverse=True)

    def sum_by_position(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, values, len(positions))

    rows = sum_by_position(np.ones(len(record)))
    out: dict[str, np.ndarray] = {"position": positions}
    for column in (*signals, *factors):
        values, null = values_and_mask(record, column)
        usable = np.isfinite(values) & (values > 0)
        logs = np.log10(np.where(usable, values, 1.0))
        with np.errstate(invalid="ignore"):  # 0/0 in a layer without a usable value
            out[column] = sum_by_position(logs) / sum_by_position(usable)
        if column in signals:
            out[f"{column}_zero"] = sum_by_position(values == 0) / rows
            out[f"{column}_inf"] = sum_by_position(~np.isfinite(values) & ~null) / rows
    return pd.DataFrame(out)


def at_start(record: pd.DataFrame) -> pd.DataFrame:
    """Return the layers at step 0, without the columns `step` and `axis`."""
    first = record[(record["axis"] == "depth") & (record["step"] == 0)]
    return numpy_floats(first.drop(columns=["step", "axis"]))


def thin_losses(steps: pd.DataFrame) -> pd.DataFrame:
    """Return at most `LOSS_POINTS` rows, evenly spaced, including the last one."""
    stride = max(1, -(-len(steps) // LOSS_POINTS))
    return numpy_floats(steps.iloc[::-1].iloc[::stride].iloc[::-1])
