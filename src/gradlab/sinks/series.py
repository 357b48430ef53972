"""Converts rows to named series of numbers, with the same names in every service.

    loss, accuracy, grad_norm, clip_factor, lr, descent    a series for each column of a step
    delta_norm/01_blocks.0.fc                              a section for each column of a layer,
                                                           with a series for each module
    weight_factor_block/01_blocks.0                        the same on the axes block, time, cell

Names consist of letters, digits, `_`, `.`, and a `/` between section and series, because services
limit names:

    MLflow       at most 250 characters: letters, digits, `_ - . : /`, space; normalised paths
    TensorBoard  replaces all characters except letters, digits and `_ - . /`
    W&B          shows any name; sorts and filters only by names of letters, digits and `_`

In the name of a module, other characters become `_`, and a long name loses its beginning. A hash of
the original name then makes the series unique.

A null ("not measured") is not logged. NaN and inf are logged. W&B stores them as they are.
TensorBoard stores float32: a number above 3.4e38 becomes inf, and a number below 1e-45 becomes 0.
MLflow stores NaN; its database stores inf as the largest float64.
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
"""Columns of `layers.parquet` that are logged."""
AXES = ("depth", "block")
"""Axes that are logged; the axes time and cell would add hundreds of series."""
LONGEST_MODULE, LONGEST_PREFIX = 120, 60  # the whole name is shorter than MLflow's limit of 250


@lru_cache(maxsize=2**16)
def series_name(column: str, axis: str, position: int, count: int, module: str) -> str:
    """Return the name of the series of one layer.

    Args:
        column: Name of a column of `layers.parquet`.
        axis: One of `schema.AXES`.
        position: Position of the layer on the axis, from 1.
        count: Largest position on the axis; positions are padded to its width, at least 2 digits.
        module: Dotted name of the module.

    Returns:
        The name.

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
    """Yield the numbers of each step, keyed by name of the series, without nulls.

    Args:
        rows: Rows of a run.
        prefix: Text before each name.
        axes: Axes of the layers to return.

    Yields:
        Pairs of the number of a step and its series, in the order of the steps.
    """
    layers = {} if rows.layers is None else _layer_scalars(rows.layers, prefix, axes)
    recorded = None if rows.layers is None else rows.layers["step"].to_pylist()[0]
    columns = {f"{prefix}{name}": rows.steps[name].to_pylist() for name in STEP_COLUMNS}
    for row, step in enumerate(rows.steps["step"].to_pylist()):
        series = {name: values[row] for name, values in columns.items() if values[row] is not None}
        yield step, series | (layers if step == recorded else {})


def check_prefix(prefix: str) -> str:
    """Return a prefix if every service accepts it.

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
    """Return the numbers of the layers, keyed by name of the series, without nulls.

    Args:
        layers: Rows of one step.
        prefix: Text before each name.
        axes: Axes of the layers to return.

    Returns:
        The numbers.
    """
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
