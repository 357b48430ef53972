"""All rules on one run or several, and the one word that sums them up."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.frames import check
from gradlab.diagnosis.nonfinite import overflow
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.rules import RULES
from gradlab.diagnosis.seeds import pooled


def diagnose(
    layers: pd.DataFrame,
    steps: pd.DataFrame | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    expected: pd.DataFrame | None = None,
    fixed_point: float | None = None,
) -> list[Finding]:
    """Return what is wrong with a run, gravest first; an empty list for a healthy one.

    If the frames have a column `run` with several runs, those are taken for seeds of one setting,
    and each finding has a `confidence`: the share of the runs that show it.

    Args:
        layers: a frame of `layers.parquet`.
        steps: one of `steps.parquet`; without it, nothing is said of the loss and its updates.
        config: flat, as in `run.json`; without it, nothing is said of the optimiser or of clipping,
            and the dtype is taken for float32.
        expected: what `gradlab.predict` says of the network, for the causes.
        fixed_point: the decades a layer that theory gives for wide and deep networks, likewise.

    Raises:
        StoreError: a column is missing, a row is there twice, or runs are of different networks.
    """
    steps = pd.DataFrame({"step": []}) if steps is None else steps
    check(layers, steps)
    parts = [
        _one(Record(group, _of(steps, run), config or {}, expected, fixed_point))
        for run, group in _by_run(layers)
    ]
    return pooled(parts) if len(parts) > 1 else parts[0]


def verdict(status: str, findings: Sequence[Finding]) -> str:
    """Return one of `schema.VERDICTS`: `diverged` whatever else, else the gravest finding."""
    if status == "diverged":
        return "diverged"
    return next((f.kind for f in findings if f.severity != "note"), "healthy")


def _one(record: Record) -> list[Finding]:
    rules = RULES if record.known.any() else (overflow,)  # others have nothing to look at
    with np.errstate(all="ignore"):  # inf and NaN are what the rules are about
        found = [rule(record) for rule in rules if len(record.layers)]
    return [finding for finding in found if finding is not None]


def _by_run(layers: pd.DataFrame) -> list[tuple[object, pd.DataFrame]]:
    """Return each run and its rows; all rows, of None, if they do not name their run."""
    named = "run" in layers and layers["run"].notna().any()
    return list(layers.groupby("run", sort=True)) if named else [(None, layers)]


def _of(steps: pd.DataFrame, run: object) -> pd.DataFrame:
    """Return the rows of a run, whichever others a frame of a whole folder has beside it."""
    return steps[steps["run"] == run] if run is not None and "run" in steps else steps
