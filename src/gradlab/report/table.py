"""A row per run: what `gradlab show` prints, and what the report's tables are made of."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gradlab.report.reduce import Reduced
from gradlab.report.settings import filled, varied
from gradlab.store.load import Run, runs_frame


def table(runs: Sequence[Run], reduced: Reduced) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per run that could be read, and the keys that the sweep varied.

    Columns: run, verdict, status, decades, the configuration ("unset" where a varied key has no
    value), seed, first_loss, final_loss, test_accuracy (held out), steps, since (the step of the
    first finding, or of divergence), first_nonfinite, cause.
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
    columns = ["decades", *keys, *seeds, *last]
    known = [column for column in columns if frame[column].notna().any()]
    return frame[["run", "verdict", "status", *known]]


def _told(run: Run) -> dict[str, Any]:
    test = run.info.get("test") or {}
    where = run.info.get("first_nonfinite") or {}
    findings = run.info["findings"]
    place = f" {where['site']}" if where.get("site") else ""
    since = [finding["since"] for finding in findings] + ([where["step"]] if where else [])
    return {
        "since": min(since, default=None),
        "test_accuracy": test.get("accuracy"),
        "first_nonfinite": f"{where['where']}{place}, step {where['step']}" if where else None,
        "cause": run.info.get("error") or "; ".join(f["cause"] for f in findings) or None,
    }
