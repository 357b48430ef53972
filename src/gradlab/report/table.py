"""A row per run: what `gradlab show` prints, and what the report's tables are made of."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gradlab.report.reduce import Reduced
from gradlab.report.settings import varied
from gradlab.store.load import Run, runs_frame


def table(runs: Sequence[Run], reduced: Reduced) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per run that could be read, and the keys that the sweep varied.

    Columns: run, verdict, status, decades, the configuration, seed, final_loss, test_accuracy
    (held out), steps, first_nonfinite, cause.
    """
    frame = runs_frame(runs).drop(columns=["config_hash"])
    configs = frame[sorted({key for run in runs for key in run.config} & {*frame.columns})]
    extra = pd.DataFrame([{"run": run.name, **_told(run)} for run in runs])
    frame = frame.merge(extra, on="run").merge(reduced.runs, on="run")
    return frame, varied(configs)


def shown(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the columns that a reader of a list of runs wants, in order."""
    seeds = ["seed"] if frame["seed"].nunique() > 1 else []
    last = ["final_loss", "test_accuracy", "steps", "first_nonfinite", "cause"]
    columns = ["run", "verdict", "status", "decades", *keys, *seeds, *last]
    return frame[[column for column in columns if frame[column].notna().any()]]


def _told(run: Run) -> dict[str, Any]:
    test = run.info.get("test") or {}
    where = run.info.get("first_nonfinite") or {}
    findings = run.info.get("findings") or []
    place = f" {where['site']}" if where.get("site") else ""
    return {
        "since": findings[0]["since"] if findings else None,
        "test_accuracy": test.get("accuracy"),
        "first_nonfinite": f"{where['where']}{place}, step {where['step']}" if where else None,
        "cause": run.info.get("error") or "; ".join(f["cause"] for f in findings) or None,
    }
