"""A row per setting: the error signal's decades for the heatmap, and medians over seeds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gradlab.diagnosis.grid import median
from gradlab.pages.numbers import count
from gradlab.report.swept_keys import format_value, levels
from gradlab.results.resume import DONE


class Cells(NamedTuple):
    """Three tables of the same shape, one row and column per setting: see `by_setting`.

    `of` is 0 in a cell that was not run.
    """

    decades: pd.DataFrame
    runs: pd.DataFrame
    of: pd.DataFrame


def pivot_decades(runs: pd.DataFrame, keys: list[str]) -> Cells:
    """Return the settings as a grid: first and fourth key across, the others down.

    A row or column in which nothing was run is not there.
    """
    table = decades_by_setting(runs, keys)
    across = [key for i, key in enumerate(keys) if i in (0, 3)]
    down = [key for key in keys if key not in across]
    for key in keys:
        table[key] = pd.Categorical(table[key], levels(table[key]))
    if not across:
        table["all"] = "all runs"
        across = ["all"]
    if not down:
        table["error signal"] = ""
        down = ["error signal"]
    # Sorted by level, and only what was run: no cartesian product of the levels.
    indexed = table.set_index([*down, *across])
    wide = [
        pd.DataFrame(indexed[name].unstack(across)).sort_index().sort_index(axis=1)
        for name in ("decades", "runs", "of")
    ]
    return Cells(wide[0], *(each.fillna(0).astype(int) for each in wide[1:]))


def decades_by_setting(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row per setting: its typical `decades`, the `runs` they stand for, `of` how many.

    A run counts if it has a ratio of the kind shown: finite, exactly 0, or infinite.
    """
    by: Any = keys or (lambda _: 0)  # without keys, one setting
    grouped = runs.groupby(by, sort=False)["decades"]
    return grouped.agg(decades=typical_decades, runs=count_typical, of="size").reset_index(
        drop=not keys
    )


def count_typical(decades: pd.Series) -> int:
    """Return over how many runs `typical` is taken."""
    value = typical_decades(decades)
    same = np.isfinite(decades) if np.isfinite(value) else decades == value
    return int(same.sum())


def typical_decades(decades: pd.Series) -> float:
    """Return the mean of the finite values, unless most are -inf or +inf."""
    values = decades.dropna().to_numpy()
    if not len(values):
        return float("nan")
    for edge in (-np.inf, np.inf):
        if (values == edge).mean() >= 0.5:
            return float(edge)
    return float(values[np.isfinite(values)].mean())


MEASURES = ("decades", "slope", "time_decades", "test_accuracy", "test_loss")
"""Decades are logarithms: their median is a ratio's, and no outlier rules it."""


def summarise_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return a row per setting of `table`: its runs, and median and range of what they measured.

    Columns: `keys`; `runs`; `seeds`, how many distinct ones; `done`, how many of the runs ended by
    themselves; `verdict`, the most frequent; `verdicts` and `statuses`, in words; and of each
    measure its median over the runs that have it, the range (`_low`, `_high`), and how many those
    are (`_runs`). `slope` is `decades` a layer.
    """
    runs = runs.assign(slope=runs["decades"] / (runs["layers"] - 1).clip(lower=1))
    groups = runs.groupby(list(keys), sort=False, dropna=False) if keys else [((), runs)]
    rows = [
        {**dict(zip(keys, setting, strict=True)), **_summarise_group(group)}
        for setting, group in groups
    ]
    return pd.DataFrame(rows)


def seed_table(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
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
            shown[name] = [_median_cell(row, name) for _, row in table.iterrows()]
    return shown


def seed_note(table: pd.DataFrame) -> str:
    """Say how to read the cells of `told`."""
    if (table["runs"] == 1).all():
        return "One run a setting: there is nothing to sum up; try seed=0,1,2"
    over_time = bool(table["time_decades_runs"].any())
    return (
        "Medians over the runs of a setting [least, greatest]; (2/3): two of three runs have one. "
        "Decades are log10 of the error signal, first layer over last; slope: of it, a layer"
        + ("; time_decades: of the state's gradient, first time step over last" * over_time)
    )


def describe_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> str:
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


def _summarise_group(group: pd.DataFrame) -> dict[str, Any]:
    verdicts = group["verdict"].fillna("no verdict")
    row: dict[str, Any] = {
        "runs": len(group),
        "seeds": group["seed"].nunique(dropna=False),
        "done": int(group["status"].isin(DONE).sum()),
        "verdict": leading_verdict(verdicts),
        "verdicts": verdict_counts(verdicts),
        "statuses": verdict_counts(group["status"]),
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


def leading_verdict(words: pd.Series) -> str:
    """Return the most frequent verdict; of those equally frequent, a sick one."""
    found = words.value_counts()
    return str(max(found.index, key=lambda word: (found[word], word != "healthy")))


def verdict_counts(words: pd.Series) -> str:
    """Return how often each word is there, the most frequent first: `vanishing 4/5, healthy 1/5`.

    Of one run, the word alone.
    """
    if len(words) == 1:
        return str(words.iloc[0])
    return ", ".join(f"{each} {n}/{len(words)}" for each, n in words.value_counts().items())


def _median_cell(row: pd.Series, name: str) -> str:
    """Return `-4.25 [-4.28, -4.23]`, with `(3/5)` where not all runs have it."""
    known = int(row[f"{name}_runs"])
    if not known:
        return ""
    middle, low, high = (number(row[f"{name}{part}"]) for part in ("", "_low", "_high"))
    spread = f" [{low}, {high}]" if known > 1 else ""
    return f"{middle}{spread}" + (f" ({known}/{row['runs']})" if known < row["runs"] else "")


def number(value: float) -> str:
    """Return a number in three digits; of one that is no number, `nan`."""
    return f"{value:.3g}" if np.isfinite(value) else format_value(value)
