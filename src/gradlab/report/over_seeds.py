"""A row per setting: what its seeds have in common, and how far they are apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradlab.diagnosis.profile import median
from gradlab.report.sentences import count
from gradlab.report.settings import word
from gradlab.results.resume import DONE

MEASURES = ("decades", "slope", "time_decades", "test_accuracy", "test_loss")
"""Decades are logarithms: their median is a ratio's, and no outlier rules it."""


def over_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return a row per setting of `table`: its runs, and median and range of what they measured.

    Columns: `keys`; `runs`; `seeds`, how many distinct ones; `done`, how many of the runs ended by
    themselves; `verdict`, the most frequent; `verdicts` and `statuses`, in words; and of each
    measure its median over the runs that have it, the range (`_low`, `_high`), and how many those
    are (`_runs`). `slope` is `decades` a layer.
    """
    runs = runs.assign(slope=runs["decades"] / (runs["layers"] - 1).clip(lower=1))
    groups = runs.groupby(list(keys), sort=False, dropna=False) if keys else [((), runs)]
    rows = [
        {**dict(zip(keys, setting, strict=True)), **_summed_up(group)} for setting, group in groups
    ]
    return pd.DataFrame(rows)


def told(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the table of `over_seeds` as a reader wants it: a median and its range in one cell.

    What is the same in every row and expected, or known of none, is not there.
    """
    repeated = (table["runs"] != table["seeds"]).any()
    unfinished = (table["runs"] != table["done"]).any()
    columns = ["seeds", "runs"] if repeated else ["seeds"]
    columns += ["verdicts", "statuses"] if unfinished else ["verdicts"]
    shown = table[[*keys, *columns]].copy()
    for name in MEASURES:
        if table[f"{name}_runs"].any():
            shown[name] = [_cell(row, name) for _, row in table.iterrows()]
    return shown


def note(table: pd.DataFrame) -> str:
    """Say how to read the cells of `told`."""
    if (table["runs"] == 1).all():
        return "One run a setting: there is nothing to sum up; try seed=0,1,2"
    over_time = bool(table["time_decades_runs"].any())
    return (
        "Medians over the runs of a setting [least, greatest]; (2/3): two of three runs have one. "
        "Decades are log10 of the error signal, first layer over last; slope: of it, a layer"
        + ("; time_decades: of the state's gradient, first time step over last" * over_time)
    )


def behind(runs: pd.DataFrame, keys: Sequence[str]) -> str:
    """Say how many seeds stand behind a setting: `5 seeds`, `1 to 5 seeds`, `4 runs`, `1 seed`.

    Runs, if some of a setting have the same seed.
    """
    if runs.empty:
        return "no run"
    by: Any = list(keys) or (lambda _: 0)
    sizes = runs.groupby(by, dropna=False)["seed"].agg(["size", "nunique"])
    noun = "seed" if (sizes["size"] == sizes["nunique"]).all() else "run"
    least, most = int(sizes["size"].min()), int(sizes["size"].max())
    return count(most, noun) if least == most else f"{least} to {count(most, noun)}"


def _summed_up(group: pd.DataFrame) -> dict[str, Any]:
    verdicts = group["verdict"].fillna("no verdict")
    row: dict[str, Any] = {
        "runs": len(group),
        "seeds": group["seed"].nunique(dropna=False),
        "done": int(group["status"].isin(DONE).sum()),
        "verdict": leading(verdicts),
        "verdicts": counts(verdicts),
        "statuses": counts(group["status"]),
    }
    for name in MEASURES:
        values = group[name].to_numpy(dtype=float)  # None becomes NaN
        known = values[~np.isnan(values)]
        row |= {
            name: median(values),
            f"{name}_low": known.min() if len(known) else np.nan,
            f"{name}_high": known.max() if len(known) else np.nan,
            f"{name}_runs": len(known),
        }
    return row


def leading(words: pd.Series) -> str:
    """Return the most frequent verdict; of those equally frequent, a sick one."""
    found = words.value_counts()
    return str(max(found.index, key=lambda word: (found[word], word != "healthy")))


def counts(words: pd.Series) -> str:
    """Return how often each word is there, the most frequent first: `vanishing 4/5, healthy 1/5`.

    Of one run, the word alone.
    """
    if len(words) == 1:
        return str(words.iloc[0])
    return ", ".join(f"{each} {n}/{len(words)}" for each, n in words.value_counts().items())


def _cell(row: pd.Series, name: str) -> str:
    """Return `-4.25 [-4.28, -4.23]`, with `(3/5)` where not all runs have it."""
    known = int(row[f"{name}_runs"])
    if not known:
        return ""
    middle, low, high = (number(row[f"{name}{part}"]) for part in ("", "_low", "_high"))
    spread = f" [{low}, {high}]" if known > 1 else ""
    return f"{middle}{spread}" + (f" ({known}/{row['runs']})" if known < row["runs"] else "")


def number(value: float) -> str:
    """Return a number in three digits; of one that is no number, `nan`."""
    return f"{value:.3g}" if np.isfinite(value) else word(value)
