"""Build the table with a row per run, which the report uses, and print it for `gradlab show`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradlab.pages.numbers import cell
from gradlab.pages.style import verdict_colours
from gradlab.pages.terminal import plain_table, terminal, write
from gradlab.report.by_setting import seed_note, seed_table, summarise_seeds
from gradlab.report.reduce import Reduced, reduce_folder
from gradlab.report.swept_keys import fill_unset, short_key, varied_keys
from gradlab.report.titles import headline
from gradlab.results.load import Run, runs_frame


def run_table(runs: Sequence[Run], reduced: Reduced) -> tuple[pd.DataFrame, list[str]]:
    """Build the table of all runs that could be read.

    Args:
        runs: the runs.
        reduced: the summaries of these runs.

    Returns:
        A row per run, and the keys that the sweep varied. Columns: run, verdict, learning, status,
        seed; each configuration key ("unset" where a varied key has no value); the columns of
        `reduce.Reduced.runs`; test_accuracy and test_loss, on held-out samples. since, the step of
        the first finding or of divergence. first_nonfinite, the first module with a value that is
        not finite. cause, the causes of the findings or the error.
    """
    read = [run for run in runs if run.name in set(reduced.runs["run"])]
    keys = varied_keys([run.config for run in read])
    frame = fill_unset(runs_frame(read).drop(columns=["config_hash"]), keys)
    extra = pd.DataFrame([{"run": run.name, **_outcome(run)} for run in read])
    return frame.merge(extra, on="run").merge(reduced.runs, on="run"), keys


def reader_columns(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Select the columns to show in a list of runs. Columns without a value are left out."""
    seeds = ["seed"] if frame["seed"].nunique() > 1 else []
    last = ["final_loss", "test_accuracy", "steps", "first_nonfinite", "cause"]
    learning = ["learning"] if frame["learning"].notna().any() else []
    columns = ["decades", "time_decades", *keys, *seeds, *last]
    known = [column for column in columns if frame[column].notna().any()]
    return frame[["run", "verdict", *learning, "status", *known]]


def finding_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Build a table with a row per finding.

    The evidence of a finding over depth is the decades of each factor at one step. It can be
    checked against the rows of this step in the run's `layers.parquet`.

    Args:
        runs: the runs.

    Returns:
        Columns: run, kind, severity, since, axis, where, cause, and a column for each number of the
        evidence.
    """
    keys = ("kind", "severity", "since", "axis", "where", "cause")
    rows: list[dict[str, Any]] = [
        {"run": run.name, **{key: finding.get(key) for key in keys}, **finding["evidence"]}
        for run in runs
        for finding in run.info["findings"]
    ]
    return pd.DataFrame(rows, columns=None if rows else ["run", *keys])


def finding_cause(finding: Mapping[str, Any]) -> str:
    """Return the cause of a finding, with the prefix "note: " if its severity is "note"."""
    return ("note: " if finding["severity"] == "note" else "") + finding["cause"]


def _outcome(run: Run) -> dict[str, Any]:
    test = run.info.get("test") or {}
    where = run.info.get("first_nonfinite") or {}
    findings = run.info["findings"]
    module = f" {where['module']}" if where.get("module") else ""
    since = [finding["since"] for finding in findings if finding["severity"] != "note"]
    since += [where["step"]] if where else []
    return {
        "since": min(since, default=None),
        "test_accuracy": test.get("accuracy"),
        "test_loss": test.get("loss"),
        "first_nonfinite": f"{where['where']}{module}, step {where['step']}" if where else None,
        "cause": run.info.get("error") or "; ".join(map(finding_cause, findings)) or None,
    }


def show_runs(
    folder: str | Path, console: Console | None = None, *, seeds: bool = False
) -> list[str]:
    """Print a table of the runs in a folder.

    Args:
        folder: the folder; its runs can be in subfolders.
        console: the console to print to; standard output by default.
        seeds: whether to print a row per setting, summarised over seeds, instead of a row per run.

    Returns:
        A line for each run that could not be read.

    Raises:
        StoreError: the folder is missing, or contains no run that can be read.
    """
    runs, reduced = reduce_folder(folder, drawn=False)
    frame, keys = run_table(runs, reduced)
    console = terminal(console)
    if seeds:
        summed = summarise_seeds(frame, keys)
        rows, verdicts = seed_table(summed, keys), summed["verdict"]
        sentences = [seed_note(summed), headline(frame)]
    else:
        rows = reader_columns(frame, keys).drop(columns=["cause"], errors="ignore")
        verdicts, sentences = frame["verdict"], [headline(frame)]
    write(console, _fill_table(rows, verdicts, plain_table(console)), *map(Text, sentences))
    return reduced.damaged


def _fill_table(rows: pd.DataFrame, verdicts: pd.Series, table: Table) -> Table:
    """Add the rows to a table, each in the colour of its verdict.

    Args:
        rows: the columns to show.
        verdicts: the verdict of each row.
        table: an empty table.

    Returns:
        The same table.
    """
    colours = verdict_colours()
    for column in rows:
        numeric = pd.api.types.is_numeric_dtype(rows[column])
        table.add_column(
            short_key(str(column)), justify="right" if numeric else "left", no_wrap=True
        )
    for values, verdict in zip(rows.itertuples(index=False), verdicts, strict=True):
        texts = (Text(cell(value)) for value in values)
        table.add_row(*texts, style=colours.get(str(verdict), ""))
    return table
