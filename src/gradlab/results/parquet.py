"""Parquet files that can be read at any moment, whatever happens to the process that writes them.

A Parquet file is unreadable until its footer is written, so a table that grows is rewritten whole
beside the old file and moved over it in one step. The time between rewrites grows with what a
rewrite costs, which keeps the total cost below a small share of the run.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradlab import schema

TYPES = {"int32": pa.int32(), "float64": pa.float64(), "string": pa.string()}


def arrow_schema(columns: tuple[schema.Column, ...]) -> pa.Schema:
    """Return the Arrow schema of `columns`, with units, formulas and meanings as metadata."""
    fields = [
        pa.field(
            column.name,
            TYPES[column.dtype],
            metadata={
                "unit": column.unit,
                "formula": column.formula,
                "meaning": column.meaning,
            },
        )
        for column in columns
    ]
    return pa.schema(fields, metadata={"gradlab_schema": str(schema.VERSION)})


def replace(path: Path, write: Any) -> None:
    """Call `write(temporary_path)` and move the result to `path` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to `path` in one step; non-finite numbers become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


class Table:
    """A Parquet file that grows, always readable, short by at most the last `interval`.

    Where `members` such files grow at the same time, each is rewritten as much less often as keeps
    the cost of all below the same share.
    """

    def __init__(
        self,
        path: Path,
        columns: tuple[schema.Column, ...],
        interval: float = 2.0,
        members: int = 1,
    ) -> None:
        self.path = path
        self.schema = arrow_schema(columns)
        self.interval, self.members = interval, members
        self._batches: list[pa.RecordBatch] = []
        self._next_flush = 0.0
        self._written = -1

    def append(self, columns: Mapping[str, Any]) -> None:
        """Add rows, given as one array per column; None stands for a column of nulls."""
        rows = len(columns["step"])
        arrays = [
            pa.nulls(rows, field.type)
            if columns[field.name] is None
            else pa.array(columns[field.name], type=field.type)
            for field in self.schema
        ]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        if time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Write every row so far."""
        if self._written == len(self._batches):
            return
        began = time.monotonic()
        table = self.table()
        replace(self.path, lambda temporary: pq.write_table(table, temporary))
        self._written = len(self._batches)
        took = time.monotonic() - began
        self._next_flush = time.monotonic() + max(self.interval, 20 * took * self.members)

    def table(self) -> pa.Table:
        """Return every row so far as one Arrow table."""
        return pa.Table.from_batches(self._batches, schema=self.schema)
