"""Pandas frames of recorded rows, in which null and NaN differ.

null means "not measured". NaN and inf mean "measured, and not finite". A pandas column of the Arrow
dtype `double[pyarrow]` stores both; a NumPy column cannot store null. pandas operations disagree in
how they treat null and NaN. Code that computes therefore converts a column first:

    values, null = values_and_mask(layers, "delta_norm")
    overflowed = ~np.isfinite(values) & ~null
"""

import numpy as np
import pandas as pd
import pyarrow as pa

FLOAT = pd.ArrowDtype(pa.float64())
"""The dtype of a measured column in a frame."""


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """Convert an Arrow table to a frame; float columns have the dtype `FLOAT`.

    Args:
        table: Rows as in `layers.parquet` or `steps.parquet`.

    Returns:
        A frame with the same columns. Integers and strings have pandas' default dtypes.
    """
    return table.to_pandas(types_mapper={pa.float64(): FLOAT}.get)


def values_and_mask(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column as NumPy values and a mask of its nulls.

    Args:
        frame: A frame, such as the result of `load`, `Monitor.frame` or `Monitor.steps`.
        column: Name of a column of numbers.

    Returns:
        The values, float64 [rows], NaN where null; and the mask, bool [rows], True where null. In a
        NumPy column every NaN counts as a measured NaN.

    Example:
        >>> frame = from_arrow(pa.table({"loss": [2.0, None, float("nan")]}))
        >>> values_and_mask(frame, "loss")
        (array([ 2., nan, nan]), array([False,  True, False]))
    """
    series = frame[column]
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(series.dtype, np.dtype):
        return values, np.zeros(len(values), dtype=bool)
    return values, series.isna().to_numpy()


def numpy_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert the float columns of a frame to NumPy float64; null becomes NaN.

    Use it where null and NaN need not differ, such as in a plot.

    Args:
        frame: A frame with columns of any dtype.

    Returns:
        A new frame; columns of other dtypes are unchanged.
    """
    return frame.astype({name: np.float64 for name, kind in frame.dtypes.items() if kind == FLOAT})
