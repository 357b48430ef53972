"""Flip every bit of a Parquet file of a run, and read it: `python benchmarks/faults/bit_flips.py`.

For each part of the file: how many flips gradlab names, how many have no effect, and how many are
read as other numbers. The last column counts the same without the checksum of the whole file.
"""

import warnings
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradlab.recording.rows import STEPS
from gradlab.results.parquet import MARK, encode, is_intact


def steps(count: int = 10) -> pa.Table:
    """Return rows as in `steps.parquet`."""
    values = np.random.default_rng(0).standard_normal(count)
    columns = {field.name: values for field in STEPS if str(field.type) == "double"}
    return pa.table({"step": range(count), **columns}).cast(STEPS)


def read(content: bytes, table: pa.Table) -> str:
    """Return "named", "no effect" or "other numbers"."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        got = file.read(use_threads=False)
    except (OSError, ValueError, OverflowError, MemoryError, pa.ArrowException):
        return "named"
    return "no effect" if got.equals(table) else "other numbers"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    table = steps()
    content = encode(table)
    mark = content.index(MARK)
    footer = mark + len(MARK) + 4
    parts = {
        "pages": range(mark),
        "checksum": range(mark, footer),
        "footer": range(footer, len(content) - 8),
        "length and PAR1": range(len(content) - 8, len(content)),
    }
    print("| part | flips | named | no effect | other numbers | other numbers, pages only |")
    print("|---|---|---|---|---|---|")
    for name, positions in parts.items():
        with_file, pages_only = Counter[str](), Counter[str]()
        for position in positions:
            for bit in range(8):
                changed = bytearray(content)
                changed[position] ^= 1 << bit
                alone = read(bytes(changed), table)
                pages_only[alone] += 1
                with_file[alone if is_intact(bytes(changed)) else "named"] += 1
        total = with_file.total()
        counts = [with_file[key] for key in ("named", "no effect", "other numbers")]
        cells = [name, total, *counts, pages_only["other numbers"]]
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
