"""What a trial recorded, in memory: the frames that a run would leave on disk."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradlab import schema
from gradlab.recording.rows import Rows


class Kept:
    """A sink that keeps the rows of one member in memory."""

    def __init__(self) -> None:
        self._rows: list[Rows] = []

    def write(self, rows: Rows) -> None:
        """Take some steps, and perhaps the layers of one of them."""
        self._rows.append(rows)

    def steps(self) -> pd.DataFrame:
        """Return what `steps.parquet` would hold."""
        return _frame([rows.steps for rows in self._rows], schema.STEPS)

    def layers(self) -> pd.DataFrame:
        """Return what `layers.parquet` would hold."""
        kept = [rows.layers for rows in self._rows if rows.layers is not None]
        return _frame(kept, schema.LAYERS)


def _frame(parts: Sequence[dict[str, Any]], columns: tuple[schema.Column, ...]) -> pd.DataFrame:
    def joined(name: str) -> Any:
        arrays = [np.asarray(part[name]) for part in parts if part[name] is not None]
        return np.concatenate(arrays) if arrays else np.nan

    rows = {column.name: joined(column.name) for column in columns}
    return pd.DataFrame(rows, index=range(sum(len(part["step"]) for part in parts)))
