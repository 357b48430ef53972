"""A row per run: what `gradlab show` prints, and what the report's tables are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gradlab.report.reduce import Reduced
from gradlab.report.settings import filled, varied
from gradlab.results.load import Run, runs_frame


def table(runs: Sequence[Run], reduced: Reduced) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per run that could be read, and the keys that the sweep varied.

    Columns: run, verdict, status, decades, the configuration ("unset" where a varied key has no
    value), seed, layers (how many), time_decades (of recurrent networks), first_loss, final_loss,
    test_accuracy and test_loss (held out), steps, since (the step of the first finding, or of
    divergence), first_nonfinite, cause.
    """
    read = [run for run in runs if run.name in set(reduced.runs["run"])]
    keys = varied([run.config for run in read])
    frame = filled(runs_frame(read).drop(columns=["config_hash"]), keys)
    extra = pd.DataFrame([{"run": run.name, **_told(run)} for run in read])
    return frame.merge(extra, on="run").merge(reduced.runs, on="run"), keys


def shown(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the columns that a reader of a list of runs wants, in order."""
    seeds = ["seed"] if frame["seed"].nunique() > 1 else []
    last = ["final_loss", "test_accuracy", "steps", "first_nonfinite", "cause"]
    columns = ["decades", "time_decades", *keys, *seeds, *last]
    known = [column for column in columns if frame[column].notna().any()]
    return frame[["run", "verdict", "status", *known]]


def causes(runs: Sequence[Run]) -> pd.DataFrame:
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


def told(finding: Mapping[str, Any]) -> str:
    """Return the cause of a finding, marked if it is no more than a note."""
    return ("note: " if finding["severity"] == "note" else "") + finding["cause"]


def _told(run: Run) -> dict[str, Any]:
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
        "cause": run.info.get("error") or "; ".join(map(told, findings)) or None,
    }
