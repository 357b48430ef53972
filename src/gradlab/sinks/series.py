"""Rows as named series of numbers, under the same names in every service.

    loss, accuracy, grad_norm, clip_factor, lr, descent    one series per column of a step
    delta_norm/01_blocks.0.fc                              a section per column of a layer, and in
                                                           it a series per position and module
    weight_factor_block/01_blocks.0                        the same on the axes block, time, cell

Services limit names. MLflow accepts letters, digits, `_ - . : /` and spaces, at most 250
characters, and only normalised paths. TensorBoard replaces all characters but letters, digits and
`_ - . /`. W&B draws any name, but sorts and filters by names of letters, digits and `_` only. The
names here consist of letters, digits, `_`, `.` and the `/` between section and series. In the name
of a module, other characters become `_`, and a long name loses its beginning; a hash of the name
then keeps the series unique.

A null, which means "not measured", is not logged. NaN and inf are logged. W&B stores both, and
every float64. TensorBoard stores both in float32, where a number above 3.4e38 is inf and a norm
below 1e-45 is 0. MLflow stores NaN, and its database stores inf as the largest float64.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import pyarrow as pa

from gradlab import schema
from gradlab.errors import SettingsError
from gradlab.recording.rows import Rows

STEP_COLUMNS = [name for name in schema.names(schema.STEPS) if name not in ("step", "seconds")]
LAYER_COLUMNS = (
    "weight_grad_norm",
    "delta_norm",
    "act_factor",
    "weight_factor",
    "saturated",
    "dead",
    "update_ratio",
)
"""Columns of `layers.parquet` that services show."""
AXES = ("depth", "block")
"""Axes that services show; a series for each time step would be hundreds."""
LONGEST_MODULE, LONGEST_PREFIX = 120, 60  # with section and position below MLflow's 250


@lru_cache(maxsize=2**16)
def series_name(column: str, axis: str, position: int, count: int, module: str) -> str:
    """Return the name of the series of one layer.

    Args:
        column: Name of a column of `layers.parquet`.
        axis: One of `schema.AXES`.
        position: Position of the layer on the axis, from 1.
        count: Largest position on the axis; it sets the width of the number, at least 2 digits.
        module: Dotted name of the module.

    Example:
        >>> series_name("delta_norm", "depth", 1, 12, "blocks.0.fc")
        'delta_norm/01_blocks.0.fc'
        >>> series_name("delta_norm", "time", 7, 100, "rnn")
        'delta_norm_time/007_rnn'
    """
    section = column if axis == "depth" else f"{column}_{axis}"
    return f"{section}/{position:0{max(2, len(str(count)))}d}_{_legal(module)}"


def scalars(
    rows: Rows, prefix: str = "", axes: Sequence[str] = AXES
) -> Iterator[tuple[int, dict[str, float]]]:
    """Return the numbers of each step, keyed by the names of their series; nulls are left out.

    Args:
        rows: Some steps, and the layers of one of them or None.
        prefix: Put before each name.
        axes: Axes of the layers to return.

    Returns:
        Pairs of a step and its numbers, in the order of the steps.
    """
    layers = {} if rows.layers is None else _layer_scalars(rows.layers, prefix, axes)
    recorded = None if rows.layers is None else rows.layers["step"].to_pylist()[0]
    columns = {f"{prefix}{name}": rows.steps[name].to_pylist() for name in STEP_COLUMNS}
    for row, step in enumerate(rows.steps["step"].to_pylist()):
        found = {name: values[row] for name, values in columns.items() if values[row] is not None}
        yield step, found | (layers if step == recorded else {})


def check_prefix(prefix: str) -> str:
    """Return a prefix of names of series.

    Raises:
        SettingsError: A service would refuse the names.
    """
    legal = re.fullmatch(r"[A-Za-z0-9_./]*", prefix) and len(prefix) <= LONGEST_PREFIX
    name = f"{prefix}loss"
    if not legal or posixpath.normpath(name) != name or name.startswith(("/", "..")):
        raise SettingsError(
            f"prefix={prefix!r}: expected at most {LONGEST_PREFIX} letters, digits, _ . and single "
            "slashes, such as gradlab/"
        )
    return prefix


def _layer_scalars(layers: pa.RecordBatch, prefix: str, axes: Sequence[str]) -> dict[str, float]:
    keys = [layers[name].to_pylist() for name in ("axis", "position", "module")]
    rows = [(row, *key) for row, key in enumerate(zip(*keys, strict=True)) if key[0] in axes]
    counts = {axis: max(each[2] for each in rows if each[1] == axis) for _, axis, *_ in rows}
    return {
        f"{prefix}{series_name(column, axis, position, counts[axis], module)}": values[row]
        for column in LAYER_COLUMNS
        for values in [layers[column].to_pylist()]
        for row, axis, position, module in rows
        if values[row] is not None
    }


def _legal(module: str) -> str:
    if re.fullmatch(rf"[A-Za-z0-9_.]{{1,{LONGEST_MODULE}}}", module):
        return module
    digest = hashlib.sha256(module.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9_.]", "_", module)[-LONGEST_MODULE:]
    return f"{name}_{digest}"
