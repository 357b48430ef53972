"""`gradlab show`: the runs under a folder, one line each."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from gradlab.report.reduce import gather
from gradlab.report.sentences import headline
from gradlab.report.settings import short
from gradlab.report.table import shown, table

COLOURS = {"healthy": "green", "vanishing": "yellow", "exploding": "red", "diverged": "magenta"}
NO_WRAP = 10_000  # columns of a pipe: a line must not be cut or wrapped there


def show(folder: str | Path, console: Console | None = None) -> list[str]:
    """Print a table of the runs; return a line for each that could not be read.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.
    """
    runs, reduced = gather(folder)
    frame, keys = table(runs, reduced)
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=NO_WRAP)
    rows = shown(frame, keys).drop(columns=["cause"], errors="ignore")
    out = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in rows:
        numeric = pd.api.types.is_numeric_dtype(rows[column])
        out.add_column(short(str(column)), justify="right" if numeric else "left", no_wrap=True)
    for values, verdict in zip(rows.itertuples(index=False), rows["verdict"], strict=True):
        out.add_row(*map(text, values), style=COLOURS.get(str(verdict), ""))
    with console.capture() as printed:
        console.print(out)
        console.print(headline(frame), highlight=False)
    console.file.write(printed.get())  # by ourselves: rich ends the program if the reader has gone
    return reduced.damaged


def text(value: Any) -> str:
    """Return a cell: few digits, and nothing where nothing is known."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
