"""`gradlab show`: a line per run under a folder, or a line per setting for all its seeds."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradlab.pages.terminal import plain_table, terminal, write
from gradlab.report import over_seeds
from gradlab.report.reduce import gather
from gradlab.report.sentences import headline
from gradlab.report.settings import short
from gradlab.report.table import shown, table

COLOURS = {"healthy": "green", "vanishing": "yellow", "exploding": "red", "diverged": "magenta"}


def show(folder: str | Path, console: Console | None = None, *, seeds: bool = False) -> list[str]:
    """Print a table of the runs; return a line for each that could not be read.

    Args:
        folder: of the runs.
        console: to print to.
        seeds: print a row per setting, over its seeds, rather than a row per run.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.
    """
    runs, reduced = gather(folder, drawn=False)
    frame, keys = table(runs, reduced)
    console = terminal(console)
    if seeds:
        summed = over_seeds.over_seeds(frame, keys)
        rows, verdicts = over_seeds.told(summed, keys), summed["verdict"]
        words = [over_seeds.note(summed), headline(frame)]
    else:
        rows = shown(frame, keys).drop(columns=["cause"], errors="ignore")
        verdicts, words = frame["verdict"], [headline(frame)]
    write(console, _printed(rows, verdicts, plain_table(console)), *map(Text, words))
    return reduced.damaged


def _printed(rows: pd.DataFrame, verdicts: pd.Series, out: Table) -> Table:
    """Fill the table with the rows, each in the colour of its verdict."""
    for column in rows:
        numeric = pd.api.types.is_numeric_dtype(rows[column])
        out.add_column(short(str(column)), justify="right" if numeric else "left", no_wrap=True)
    for values, verdict in zip(rows.itertuples(index=False), verdicts, strict=True):
        out.add_row(*(Text(text(value)) for value in values), style=COLOURS.get(str(verdict), ""))
    return out


def text(value: Any) -> str:
    """Return a cell: few digits, and nothing where nothing is known."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
