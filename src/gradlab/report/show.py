"""`gradlab show`: the runs under a folder, one line each."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from gradlab.report.reduce import gather
from gradlab.report.sentences import headline
from gradlab.report.settings import short
from gradlab.report.table import shown, table
from gradlab.report.terminal import plain_table, terminal, write

COLOURS = {"healthy": "green", "vanishing": "yellow", "exploding": "red", "diverged": "magenta"}


def show(folder: str | Path, console: Console | None = None) -> list[str]:
    """Print a table of the runs; return a line for each that could not be read.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.
    """
    runs, reduced = gather(folder)
    frame, keys = table(runs, reduced)
    console = terminal(console)
    rows = shown(frame, keys).drop(columns=["cause"], errors="ignore")
    out = plain_table(console)
    for column in rows:
        numeric = pd.api.types.is_numeric_dtype(rows[column])
        out.add_column(short(str(column)), justify="right" if numeric else "left", no_wrap=True)
    for values, verdict in zip(rows.itertuples(index=False), rows["verdict"], strict=True):
        out.add_row(*map(text, values), style=COLOURS.get(str(verdict), ""))
    write(console, out, headline(frame))
    return reduced.damaged


def text(value: Any) -> str:
    """Return a cell: few digits, and nothing where nothing is known."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
