"""Parquet files that are readable at any moment, also after the writing process was killed.

A Parquet file is unreadable until its footer is written. Each rewrite of a growing table therefore
goes to a temporary file, which replaces the old file in one step. If a rewrite takes longer, the
next one comes later, so that rewriting takes at most about 5% of the run.

Each page has a checksum, which any reader of Parquet can verify. The page checksums do not cover
the headers of the pages and the footer. Therefore gradlab puts a checksum of the whole file into a
gap before the footer, where other readers do not look: `MARK`, then CRC-32 in four bytes.
"""

import json
import logging
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

log = logging.getLogger(__name__)

WAITS = 0.1, 0.3, 1.0
"""Seconds before each new attempt to replace a file that a reader has open."""


def replace(path: Path, write: Any, waits: Sequence[float] = ()) -> None:
    """Call `write(temporary_path)` and move the written file to `path` in one step.

    Args:
        path: The file.
        write: Function of the path of a temporary file.
        waits: Seconds to wait before each new attempt to replace a file that is in use.

    Raises:
        OSError: The last attempt failed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # a link of this name would lead elsewhere
    try:
        write(temporary)
        for seconds in waits:
            try:
                os.replace(temporary, path)
            except PermissionError:
                time.sleep(seconds)
            else:
                return
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


MARK = b"gradlab\0"
"""Precedes the checksum of a Parquet file."""
_TAIL = 8  # bytes after the footer: its length, and PAR1


def encode(table: pa.Table) -> bytes:
    """Return a table as a Parquet file with the checksums of its pages and of the whole file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    footer = _footer(content)
    return content[:footer] + MARK + zlib.crc32(content).to_bytes(4, "little") + content[footer:]


def is_intact(content: bytes) -> bool:
    """Return whether a Parquet file has the content that `encode` wrote.

    Args:
        content: The file.

    Returns:
        False if the checksum of the file differs; True if it does not have one, because another
        program wrote the file.
    """
    footer, whole = _footer(content), memoryview(content)
    pages = footer - len(MARK) - 4
    if pages < 0 or not content.startswith(MARK, pages):
        return True
    return zlib.crc32(whole[footer:], zlib.crc32(whole[:pages])) == int.from_bytes(
        whole[footer - 4 : footer], "little"
    )


def _footer(content: bytes) -> int:
    """Return the position of the footer, at least 0."""
    length = int.from_bytes(content[-_TAIL:][:4], "little")
    return max(len(content) - _TAIL - length, 0)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON to `path` in one step; inf and NaN become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), WAITS)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


class Table:
    """A growing Parquet file that is always readable; it lacks at most the newest rows.

    Args:
        path: Path of the file.
        columns: Arrow schema, `rows.LAYERS` or `rows.STEPS`.
        interval: Minimal time between rewrites, in seconds.
        members: Number of such files that grow at the same time. With more files, each is
            rewritten less often.
        check: Called before each rewrite; it raises an error if the file must not be written.
    """

    def __init__(
        self,
        path: Path,
        columns: pa.Schema,
        interval: float = 2.0,
        members: int = 1,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.schema, self.check = path, columns, check
        self.interval, self.members = interval, members
        self._batches: list[pa.RecordBatch] = []
        self._next_flush = 0.0
        self._written = -1  # number of batches in the file
        self._warned = False

    def append(self, rows: pa.RecordBatch) -> None:
        """Add rows; rewrite the file if the interval has passed.

        A file that cannot be written now is written at the next flush. On some systems, a file
        that a reader has open cannot be replaced.
        """
        self._batches.append(rows)
        if time.monotonic() < self._next_flush:
            return
        try:
            self.flush()
        except OSError as error:
            self._next_flush = time.monotonic() + self.interval
            if not self._warned:
                log.warning("%s cannot be written now and is tried again: %s", self.path, error)
            self._warned = True

    def flush(self, waits: Sequence[float] = ()) -> None:
        """Rewrite the file with all rows, unless it is up to date; `waits` as in `replace`."""
        if self._written == len(self._batches):
            return
        began = time.monotonic()
        self.check()
        table = self.table()
        replace(self.path, lambda temporary: temporary.write_bytes(encode(table)), waits)
        self._written = len(self._batches)
        seconds = time.monotonic() - began
        self._next_flush = time.monotonic() + max(self.interval, 20 * seconds * self.members)

    def table(self) -> pa.Table:
        """Return all rows as one Arrow table."""
        return pa.Table.from_batches(self._batches, schema=self.schema)
