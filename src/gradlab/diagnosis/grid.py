"""A record as tables [step, layer], and the error signal in decades.

Shape suffixes: S recorded step, L layer.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gradlab.results.nullable import values_and_mask


class Grid:
    """The rows of one axis of a frame of layers, as tables [S, L].

    Args:
        layers: Rows as in `layers.parquet`, of one run.
        rows: Mask of the rows to use, bool [rows]; default: all.
        axis: The axis of the rows. Rows over "time" must be of one layer.

    Attributes:
        steps: Recorded steps [S], rising.
        positions: Positions [L], rising.

    Example:
        >>> rows = {"step": [0, 0], "axis": ["depth"] * 2, "position": [1, 2]}
        >>> Grid(pd.DataFrame(rows | {"delta_norm": [0.1, 1.0]}))["delta_norm"]
        array([[0.1, 1. ]])
    """

    def __init__(
        self, layers: pd.DataFrame, rows: np.ndarray | None = None, axis: str = "depth"
    ) -> None:
        along = (layers["axis"] == axis).to_numpy(dtype=bool)
        self._layers, self._rows = layers, along if rows is None else along & rows
        self.steps, self._row = self._levels("step")
        self.positions, self._column = self._levels("position")
        self._tables: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, column: str) -> np.ndarray:
        """Return the values of a column [S, L]; NaN without a row or a measurement."""
        return self._table(column)[0]

    def overflowed(self, column: str) -> np.ndarray:
        """Return where a column was measured and is NaN or inf, bool [S, L]."""
        values, measured = self._table(column)
        return measured & ~np.isfinite(values)

    def frame(self, table: np.ndarray) -> pd.DataFrame:
        """Return a table [S, L] with the names of its rows and columns."""
        rows, columns = pd.Index(self.steps, name="step"), pd.Index(self.positions, name="position")
        return pd.DataFrame(table, rows, columns)

    def _levels(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self._layers[key].to_numpy()[self._rows], return_inverse=True)

    def _table(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of a column and where it was measured, both [S, L]."""
        if column not in self._tables:
            values, measured = measurements(self._layers, column)
            table = np.full((len(self.steps), len(self.positions)), np.nan)
            known = np.zeros(table.shape, dtype=bool)
            table[self._row, self._column] = values[self._rows]
            known[self._row, self._column] = measured[self._rows]
            table.flags.writeable = False  # all rules use the same table
            self._tables[column] = table, known
        return self._tables[column]


def measurements(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a column, and a mask of the measured ones.

    A null was not measured. A NumPy column has no null: there NaN counts as not measured, because
    most NaN of such a frame were nulls in the file, and a false
    overflow is worse than a missed one.

    Args:
        frame: Rows as in `layers.parquet` or `steps.parquet`.
        column: Name of a column of numbers.

    Returns:
        The values, float64 [rows], NaN without a measurement; and a mask, bool [rows].
    """
    values, null = values_and_mask(frame, column)
    return values, ~np.isnan(values) if isinstance(frame[column].dtype, np.dtype) else ~null


def overflowed(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return in which rows a column was measured and is NaN or inf, bool [rows]."""
    values, measured = measurements(frame, column)
    return measured & ~np.isfinite(values)


def log10(table: np.ndarray) -> np.ndarray:
    """Return log10 of every entry; -inf for 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(table)


def relative(table: np.ndarray) -> np.ndarray:
    """Return log10 of each entry [S, L] over the last layer's entry of the same step.

    A factor on the loss cancels. An exact zero gives -inf, an undefined ratio (0/0) NaN.
    """
    logs = log10(table)
    with np.errstate(invalid="ignore"):  # inf - inf
        return logs - logs[:, -1:]


def median(values: np.ndarray) -> float:
    """Return the median of the entries that are not NaN; NaN if all are."""
    known = values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):  # between -inf and inf
        return float(np.median(known)) if len(known) else float("nan")


def over_depth(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return `column` as a table: a row per recorded step, a column per position."""
    grid = Grid(layers)
    return grid.frame(grid[column])


def decades(layers: pd.DataFrame, column: str = "delta_norm") -> pd.DataFrame:
    """Return log10(‖delta_l‖ / ‖delta_L‖) by step and position, or the same of another column."""
    grid = Grid(layers)
    return grid.frame(relative(grid[column]))


def gained(grid: Grid, column: str = "delta_norm") -> float:
    """Return log10(‖delta_1‖ / ‖delta_L‖), the median over the recorded steps.

    Args:
        grid: The record over depth.
        column: The column to use in place of the error signal.

    Returns:
        Decades; NaN for a network of one layer.
    """
    if len(grid.positions) < 2:
        return float("nan")
    return median(relative(grid[column])[:, 0])


def slope(layers: pd.DataFrame) -> float:
    """Return the decades that the error signal gains per layer from the last layer to the first.

    The median over the recorded steps. Negative: vanishing. NaN for a network of one layer.
    """
    grid = Grid(layers)
    return gained(grid) / max(len(grid.positions) - 1, 1)


def first_lasting(holds: ArrayLike, steps: ArrayLike) -> int | None:
    """Return the first step at which a condition holds, if the condition lasts.

    A condition lasts if it holds in at least half of the later half of the steps: a network may
    grow out of an early one.

    Args:
        holds: Whether the condition holds, bool [S].
        steps: The steps [S].
    """
    holds = np.asarray(holds)
    late = holds[len(holds) // 2 :]
    if not len(late) or late.mean() < 0.5:
        return None
    return int(np.asarray(steps)[holds.argmax()])


def usual_positions(holds: np.ndarray, positions: np.ndarray) -> tuple[int, ...]:
    """Return the positions at which a condition usually holds.

    Args:
        holds: Whether the condition holds, bool [S, L].
        positions: Positions of the layers [L].

    Returns:
        Positions with the condition in at least half of the steps in which any layer has it.
    """
    often = holds[holds.any(axis=1)].mean(axis=0) >= 0.5
    return tuple(int(position) for position in positions[often])


def extrapolate(logs: np.ndarray, grid: Grid) -> np.ndarray:
    """Compute a signal where the dtype has rounded it to 0, from the layers above and the factors.

        ‖delta_l‖ = ‖delta_k‖ Π_{m=l}^{k-1} act_factor_m norm_factor_m Π_{m=l+1}^{k} weight_factor_m

    from the nearest layer k above l that has a signal. A factor that is 0 or 0/0 because the signal
    ran out is replaced by the layer's median over the steps, or else the step's over the layers. A
    factor that is 0 because all units are dead or all weights are 0 stays 0.

    Args:
        logs: log10 of a quantity that changes over depth as the error signal does [S, L]; NaN where
            it is unknown.
        grid: The record over depth.

    Returns:
        The same table without NaN, if any layer above has a signal.
    """
    if not np.isnan(logs).any():
        return logs
    known = pd.DataFrame(logs)
    rising = _log_gains(grid).iloc[:, ::-1].cumsum(axis=1).iloc[:, ::-1]
    # Sums through a factor that is truly 0: the layers below it get 0, those above it do not.
    nearest = (known - rising).bfill(axis=1)
    return known.fillna(nearest + rising).to_numpy()


def _log_gains(grid: Grid) -> pd.DataFrame:
    """Return log10 ‖delta_l‖ / ‖delta_{l+1}‖ by the factors [S, L]; 0 for the last layer."""
    act, weight, norm = (
        pd.DataFrame(log10(grid[name])) for name in ("act_factor", "weight_factor", "norm_factor")
    )
    dead, unweighted = grid["dead"] == 1, grid["weight_norm"] == 0
    inner = _filled(act, dead) + _filled(norm, dead & False)
    inner.iloc[:, -1] = 0.0
    return inner + _filled(weight, unweighted).shift(-1, axis=1, fill_value=0.0)


def _filled(logs: pd.DataFrame, zero: np.ndarray) -> pd.DataFrame:
    """Fill entries that are not finite from other steps of the layer, then from other layers."""
    finite = logs.where(np.isfinite(logs))
    filled = finite.fillna(finite.median()).T.fillna(finite.median(axis=1)).T.fillna(0.0)
    return filled.mask(zero, -np.inf)
