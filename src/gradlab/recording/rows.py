"""The rows that a recorder passes to sinks, and the outcome of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from gradlab import schema

if TYPE_CHECKING:  # reports work without torch
    from torch import Tensor

Key = tuple[str, int, str]
"""Axis, position and dotted name of a recorded module."""

NULL_BITS = 0x7FF8_0000_0000_07A2
NULL: float = np.uint64(NULL_BITS).view(np.float64).item()
"""The NaN that means "not measured" in float64 tensors of statistics, as `NA_real_` does in R.

Copies between tensors, devices and processes preserve its bits, but arithmetic may not. Test with
`columns.is_null` before computing. In Arrow arrays, files and frames the value is an Arrow null.
"""

TYPES = {"int32": pa.int32(), "float64": pa.float64(), "string": pa.string()}


def arrow_schema(columns: tuple[schema.Column, ...]) -> pa.Schema:
    """Return the Arrow schema of columns, with units and definitions in the metadata.

    Args:
        columns: `schema.LAYERS` or `schema.STEPS`.
    """
    fields = [
        pa.field(
            column.name,
            TYPES[column.dtype],
            metadata={
                "unit": column.unit,
                "formula": column.formula,
                "meaning": column.meaning,
                "null": column.null,
            },
        )
        for column in columns
    ]
    return pa.schema(fields, metadata={"gradlab_schema": str(schema.VERSION)})


LAYERS, STEPS = arrow_schema(schema.LAYERS), arrow_schema(schema.STEPS)


@dataclass(frozen=True)
class Rows:
    """Consecutive training steps of one run, and the layers if the last step was recorded.

    The columns are Arrow arrays, such as `rows.steps["loss"]`. null means "not measured".

    Attributes:
        steps: Rows of `steps.parquet`.
        layers: Rows of `layers.parquet` for one step; None if no step was recorded.
    """

    steps: pa.RecordBatch
    layers: pa.RecordBatch | None = None


def step_rows(
    steps: Sequence[int], lrs: Sequence[float], seconds: Sequence[float], measured: "Tensor"
) -> pa.RecordBatch:
    """Make rows of `steps.parquet`.

    Args:
        steps: Number of updates before each of T steps.
        lrs: Learning rate of each step.
        seconds: Time since training began, for each step.
        measured: loss, accuracy, grad_norm, clip_factor and descent of each step, [T, 5] float64,
            `NULL` where not measured.

    Returns:
        A row for each step.
    """
    loss, accuracy, grad_norm, clip_factor, descent = _with_nulls(measured.numpy())
    arrays = [steps, loss, accuracy, grad_norm, clip_factor, _floats(lrs), descent, seconds]
    return _batch(arrays, STEPS)


def layer_rows(step: int, keys: Sequence[Key], table_SC: "Tensor") -> pa.RecordBatch:
    """Make the rows of `layers.parquet` for one step.

    Args:
        step: Number of updates before the step.
        keys: Axis, position and dotted name of each module.
        table_SC: The columns of `schema.STATISTICS`, [S, C] float64, `NULL` where not measured.

    Returns:
        A row for each module.
    """
    axes, positions, names = zip(*keys, strict=True)
    return _batch(
        [[step] * len(keys), axes, positions, names, *_with_nulls(table_SC.numpy())], LAYERS
    )


def _batch(arrays: Sequence[Any], columns: pa.Schema) -> pa.RecordBatch:
    filled = [pa.array(a, type=f.type) for a, f in zip(arrays, columns, strict=True)]
    return pa.RecordBatch.from_arrays(filled, schema=columns)


def _floats(values: Sequence[float]) -> Any:
    return _with_nulls(np.array(values, dtype=np.float64)[:, None])[0]


def _with_nulls(table: np.ndarray) -> list[pa.Array]:
    """Return the columns of a table as Arrow arrays: `NULL` becomes null, NaN and inf remain."""
    columns = table.T.copy()  # a view would keep the tensor of all members in memory
    masks = columns.view(np.int64) == NULL_BITS
    return [
        pa.array(values, mask=mask if mask.any() else None)
        for values, mask in zip(columns, masks, strict=True)
    ]


@dataclass
class Outcome:
    """The end of a run.

    Attributes:
        status: One of `schema.STATUSES`.
        steps: Number of training steps made.
        first_nonfinite: For a run that diverged, the result of `first_nonfinite`.
        fault: The operation at which it diverged, as `nonfinite.fault.Fault.as_dict` writes it;
            None if it is unknown.
    """

    status: str = "running"
    steps: int = 0
    first_nonfinite: dict[str, Any] | None = None
    fault: dict[str, Any] | None = None


class RowWriter(Protocol):
    """The method of `gradlab.sinks.protocol.Sink` that the training loop calls."""

    def write(self, rows: Rows) -> None:
        """Receive rows."""
        ...


FORWARD = ("weight_norm", "preact_mean", "preact_std", "act_mean", "act_std")
BACKWARD = ("delta_norm", "act_grad_norm", "weight_grad_norm")


def first_nonfinite(rows: Rows) -> dict[str, Any] | None:
    """Locate the first number that is not finite in the last record of a run.

    In the forward pass, the first layer that overflows has the lowest position; in the backward
    pass, the highest. If every recorded number is finite, the update was not finite.

    Args:
        rows: The last rows of a run that diverged.

    Returns:
        A dictionary with the keys `step`, `where` ("forward", "loss", "backward" or "update"),
        `position` and `module` (None for the loss and the update). None if no layer was recorded.
    """
    if rows.layers is None:
        return None
    layers = over_depth(rows.layers)
    where, bad = "forward", _nonfinite(layers, FORWARD)
    if not len(bad) and not np.isfinite(rows.steps["loss"][-1].as_py()):
        where = "loss"
    elif not len(bad):
        bad = _nonfinite(layers, BACKWARD)[::-1]
        where = "backward" if len(bad) else "update"
    row = layers.slice(int(bad[0]), 1).to_pylist()[0] if len(bad) else {}
    return {
        "step": layers["step"][0].as_py(),
        "where": where,
        "position": row.get("position"),
        "module": row.get("module"),
    }


def over_depth(layers: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows of the axis depth."""
    return layers.filter(np.array([axis == "depth" for axis in layers["axis"].to_pylist()]))


def _nonfinite(layers: pa.RecordBatch, columns: Sequence[str]) -> np.ndarray:
    """Return the indices of rows in which a measured number is not finite."""
    values = np.stack([layers[name].fill_null(0.0).to_numpy() for name in columns])
    return np.flatnonzero(~np.isfinite(values).all(axis=0))
