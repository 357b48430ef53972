"""A row per run: the table that `gradlab show` prints and the report's tables are made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradlab.pages.numbers import cell
from gradlab.pages.terminal import plain_table, terminal, write
from gradlab.report.by_setting import seed_note, seed_table, summarise_seeds
from gradlab.report.reduce import Reduced, reduce_folder
from gradlab.report.swept_keys import fill_unset, short_key, varied_keys
from gradlab.report.titles import headline
from gradlab.results.load import Run, runs_frame


def run_table(runs: Sequence[Run], reduced: Reduced) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per run that could be read, and the keys that the sweep varied.

    Columns: run, verdict, status, decades, the configuration ("unset" where a varied key has no
    value), seed, layers (how many), time_decades (of recurrent networks), first_loss, final_loss,
    test_accuracy and test_loss (held out), steps, since (the step of the first finding, or of
    divergence), first_nonfinite, cause.
    """
    read = [run for run in runs if run.name in set(reduced.runs["run"])]
    keys = varied_keys([run.config for run in read])
    frame = fill_unset(runs_frame(read).drop(columns=["config_hash"]), keys)
    extra = pd.DataFrame([{"run": run.name, **_outcome(run)} for run in read])
    return frame.merge(extra, on="run").merge(reduced.runs, on="run"), keys


def reader_columns(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the columns that a reader of a list of runs wants, in order."""
    seeds = ["seed"] if frame["seed"].nunique() > 1 else []
    last = ["final_loss", "test_accuracy", "steps", "first_nonfinite", "cause"]
    columns = ["decades", "time_decades", *keys, *seeds, *last]
    known = [column for column in columns if frame[column].notna().any()]
    return frame[["run", "verdict", "status", *known]]


def finding_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row per finding: run, kind, since when, where, the cause, and each number of it.

    Those of a finding over depth are the decades by factor at one step, to be checked against
    that step's rows of the run's `layers.parquet`.
    """
    keys = ("kind", "severity", "since", "axis", "where", "cause")
    rows: list[dict[str, Any]] = [
        {"run": run.name, **{key: finding.get(key) for key in keys}, **finding["evidence"]}
        for run in runs
        for finding in run.info["findings"]
    ]
    return pd.DataFrame(rows, columns=None if rows else ["run", *keys])


def finding_cause(finding: Mapping[str, Any]) -> str:
    """Return the cause of a finding, marked if it is no more than a note."""
    return ("note: " if finding["severity"] == "note" else "") + finding["cause"]


def _outcome(run: Run) -> dict[str, Any]:
    test = run.info.get("test") or {}
    where = run.info.get("first_nonfinite") or {}
    findings = run.info["findings"]
    place = f" {where['module']}" if where.get("module") else ""
    sick = [finding for finding in findings if finding["severity"] != "note"]
    since = [finding["since"] for finding in sick] + ([where["step"]] if where else [])
    return {
        "since": min(since, default=None),
        "test_accuracy": test.get("accuracy"),
        "test_loss": test.get("loss"),
        "first_nonfinite": f"{where['where']}{place}, step {where['step']}" if where else None,
        "cause": run.info.get("error") or "; ".join(map(finding_cause, findings)) or None,
    }


VERDICT_COLOURS = {
    "healthy": "green",
    "vanishing": "yellow",
    "exploding": "red",
    "diverged": "magenta",
}


def show_runs(
    folder: str | Path, console: Console | None = None, *, seeds: bool = False
) -> list[str]:
    """Print a table of the runs; return a line for each that could not be read.

    Args:
        folder: of the runs.
        console: to print to.
        seeds: print a row per setting, over its seeds, rather than a row per run.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.
    """
    runs, reduced = reduce_folder(folder, drawn=False)
    frame, keys = run_table(runs, reduced)
    console = terminal(console)
    if seeds:
        summed = summarise_seeds(frame, keys)
        rows, verdicts = seed_table(summed, keys), summed["verdict"]
        words = [seed_note(summed), headline(frame)]
    else:
        rows = reader_columns(frame, keys).drop(columns=["cause"], errors="ignore")
        verdicts, words = frame["verdict"], [headline(frame)]
    write(console, _fill_table(rows, verdicts, plain_table(console)), *map(Text, words))
    return reduced.damaged


def _fill_table(rows: pd.DataFrame, verdicts: pd.Series, out: Table) -> Table:
    """Fill the table with the rows, each in the colour of its verdict."""
    for column in rows:
        numeric = pd.api.types.is_numeric_dtype(rows[column])
        out.add_column(short_key(str(column)), justify="right" if numeric else "left", no_wrap=True)
    for values, verdict in zip(rows.itertuples(index=False), verdicts, strict=True):
        out.add_row(
            *(Text(cell(value)) for value in values),
            style=VERDICT_COLOURS.get(str(verdict), ""),
        )
    return out
