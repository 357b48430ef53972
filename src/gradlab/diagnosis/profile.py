"""The error signal over depth, in decades: pure functions of a frame of `layers.parquet`."""

import numpy as np
import pandas as pd


def over_depth(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return `column` as a table: a row per recorded step, a column per position."""
    depth = layers[layers["axis"] == "depth"]
    steps, row = np.unique(depth["step"].to_numpy(), return_inverse=True)
    positions, place = np.unique(depth["position"].to_numpy(), return_inverse=True)
    values = np.full((len(steps), len(positions)), np.nan)
    values[row, place] = depth[column].to_numpy()
    return pd.DataFrame(values, pd.Index(steps, name="step"), pd.Index(positions, name="position"))


def decades(layers: pd.DataFrame, column: str = "delta_norm") -> pd.DataFrame:
    """Return log10(‖delta_l‖ / ‖delta_L‖) by step and position: what is gained since the output.

    Or the same of another `column`.

    An exact zero gives -inf; where the ratio is not defined (0/0, NaN) the entry is NaN. A factor
    on the loss cancels.
    """
    logs = log10(over_depth(layers, column))
    if logs.empty:
        return logs
    with np.errstate(invalid="ignore"):  # inf - inf
        return logs.sub(logs.iloc[:, -1], axis=0)


def log10(table: pd.DataFrame) -> pd.DataFrame:
    """Return log10 of every entry; of 0 it is -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(np.log10(table.to_numpy()), table.index, table.columns)


def slope(layers: pd.DataFrame) -> float:
    """Return the decades that the error signal gains a layer on its way from output to input.

    The median over the recorded steps; negative = vanishing; NaN for a network of one layer.
    """
    table = decades(layers)
    if table.shape[1] < 2 or table.empty:
        return float("nan")
    gained = table.iloc[:, 0].dropna()
    return float(gained.median() / (table.shape[1] - 1)) if len(gained) else float("nan")
