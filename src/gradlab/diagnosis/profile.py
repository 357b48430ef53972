"""A record over depth (or time), laid out by step and layer, and the error signal in decades."""

import numpy as np
import pandas as pd


class Grid:
    """The rows over depth of a frame of `layers.parquet`, as tables [step, layer].

    `grid["dead"]` is a column so laid out, NaN where there is no row; `steps` [S] and `positions`
    [L] rise.

    Args:
        layers: the frame.
        rows: which of its rows count, if not all.
        axis: of the rows; those over "time" must be of one layer.
    """

    def __init__(
        self, layers: pd.DataFrame, rows: np.ndarray | None = None, axis: str = "depth"
    ) -> None:
        along = (layers["axis"] == axis).to_numpy(dtype=bool)
        self._layers, self._rows = layers, along if rows is None else along & rows
        self.steps, self._row = self._levels("step")
        self.positions, self._place = self._levels("position")
        self._tables: dict[str, np.ndarray] = {}

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self._tables:
            table = np.full((len(self.steps), len(self.positions)), np.nan)
            table[self._row, self._place] = self._layers[column].to_numpy()[self._rows]
            table.flags.writeable = False  # the rules share it
            self._tables[column] = table
        return self._tables[column]

    def _levels(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self._layers[key].to_numpy()[self._rows], return_inverse=True)

    def frame(self, table: np.ndarray) -> pd.DataFrame:
        """Return a table [step, layer] with the names of its rows and columns."""
        rows, columns = pd.Index(self.steps, name="step"), pd.Index(self.positions, name="position")
        return pd.DataFrame(table, rows, columns)


def log10(table: np.ndarray) -> np.ndarray:
    """Return log10 of every entry; of 0 it is -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(table)


def relative(table: np.ndarray) -> np.ndarray:
    """Return log10 of each entry [step, layer] over that of the last layer.

    An exact zero gives -inf; where the ratio is not defined (0/0, NaN) the entry is NaN. A factor
    on the loss cancels.
    """
    logs = log10(table)
    with np.errstate(invalid="ignore"):  # inf - inf
        return logs - logs[:, -1:]


def median(values: np.ndarray) -> float:
    """Return the median of what is a number; NaN if nothing is."""
    known = values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):  # between -inf and inf
        return float(np.median(known)) if len(known) else float("nan")


def over_depth(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return `column` as a table: a row per recorded step, a column per position."""
    grid = Grid(layers)
    return grid.frame(grid[column])


def decades(layers: pd.DataFrame, column: str = "delta_norm") -> pd.DataFrame:
    """Return log10(‖delta_l‖ / ‖delta_L‖) by step and position: what is gained since the output.

    Or the same of another `column`; see `relative`.
    """
    grid = Grid(layers)
    return grid.frame(relative(grid[column]))


def gained(grid: Grid, column: str = "delta_norm") -> float:
    """Return log10(‖delta_1‖ / ‖delta_L‖), the median over the steps at which it is defined.

    Or the same of another `column`; NaN for a network of one layer.
    """
    if len(grid.positions) < 2:
        return float("nan")
    return median(relative(grid[column])[:, 0])


def slope(layers: pd.DataFrame) -> float:
    """Return the decades that the error signal gains a layer on its way from output to input.

    The median over the recorded steps; negative = vanishing; NaN for a network of one layer.
    """
    grid = Grid(layers)
    return gained(grid) / max(len(grid.positions) - 1, 1)
