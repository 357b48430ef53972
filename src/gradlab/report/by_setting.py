"""Summarise runs by setting: decades of the error signal, and medians over seeds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gradlab.diagnosis.grid import median
from gradlab.pages.numbers import count
from gradlab.report.swept_keys import format_value, levels
from gradlab.results.resume import DONE


class Cells(NamedTuple):
    """Three tables with a cell for each setting.

    Attributes:
        decades: typical decades of the error signal from last layer to first.
        runs: number of runs that `decades` stands for.
        of: number of runs of the setting; 0 for a setting that was not run.
    """

    decades: pd.DataFrame
    runs: pd.DataFrame
    of: pd.DataFrame


def pivot_decades(runs: pd.DataFrame, keys: list[str]) -> Cells:
    """Arrange the settings as a grid, without rows and columns in which nothing was run.

    Args:
        runs: a row per run, of `run_table`.
        keys: the swept keys. The first and the fourth become columns, the others rows.

    Returns:
        The tables of the grid.
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
    # Unstacking and sorting by level leaves out combinations that were not run.
    indexed = table.set_index([*down, *across])
    wide = [
        pd.DataFrame(indexed[name].unstack(across)).sort_index().sort_index(axis=1)
        for name in ("decades", "runs", "of")
    ]
    return Cells(wide[0], *(each.fillna(0).astype(int) for each in wide[1:]))


def decades_by_setting(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Summarise the decades of the error signal by setting.

    Args:
        runs: a row per run, of `run_table`.
        keys: the swept keys.

    Returns:
        A row per setting. Columns: the keys; `decades`, the typical value (`typical_decades`);
        `runs`, the number of runs with such a value; `of`, the number of all runs.
    """
    by: Any = keys or (lambda _: 0)  # without keys, one setting
    grouped = runs.groupby(by, sort=False)["decades"]
    return grouped.agg(decades=typical_decades, runs=count_typical, of="size").reset_index(
        drop=not keys
    )


def count_typical(decades: pd.Series) -> int:
    """Return the number of runs that `typical_decades` stands for."""
    value = typical_decades(decades)
    same = np.isfinite(decades) if np.isfinite(value) else decades == value
    return int(same.sum())


def typical_decades(decades: pd.Series) -> float:
    """Return the mean of the finite values; -inf or inf if at least half are that."""
    values = decades.dropna().to_numpy()
    if not len(values):
        return float("nan")
    for edge in (-np.inf, np.inf):
        if (values == edge).mean() >= 0.5:
            return float(edge)
    return float(values[np.isfinite(values)].mean())


MEASURES = ("decades", "slope", "time_decades", "test_accuracy", "test_loss")
"""The columns that are summarised over seeds."""


def summarise_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Summarise the runs of each setting: verdicts, medians and ranges over seeds.

    Args:
        runs: a row per run, of `run_table`.
        keys: the swept keys.

    Returns:
        A row per setting. Columns: the keys; `runs`, number of runs; `seeds`, number of distinct
        seeds; `done`, number of runs that ended without a kill or an error; `verdict`, the most
        frequent; `verdicts` and `statuses`, counts as text. For each measure: its median, its
        range (`_low`, `_high`) and the number of runs that have it (`_runs`). `slope` is decades
        per layer.
    """
    runs = runs.assign(slope=runs["decades"] / (runs["layers"] - 1).clip(lower=1))
    groups = runs.groupby(list(keys), sort=False, dropna=False) if keys else [((), runs)]
    rows = [
        {**dict(zip(keys, setting, strict=True)), **_summarise_group(group)}
        for setting, group in groups
    ]
    return pd.DataFrame(rows)


def seed_table(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Format the table of `summarise_seeds`: a cell holds a median and its range.

    Columns without information are left out, such as `statuses` when all runs are done.

    Returns:
        A row per setting; every cell is a text.
    """
    repeated = (table["runs"] != table["seeds"]).any()  # some runs have the same seed
    unfinished = (table["runs"] != table["done"]).any()
    columns = ["seeds", "runs"] if repeated else ["seeds"]
    columns += ["verdicts", "statuses"] if unfinished else ["verdicts"]
    shown = table[[*keys, *columns]].copy()
    for name in MEASURES:
        if table[f"{name}_runs"].any():
            shown[name] = [_median_cell(row, name) for _, row in table.iterrows()]
    return shown


def seed_note(table: pd.DataFrame) -> str:
    """Explain the cells of `seed_table`."""
    if (table["runs"] == 1).all():
        return "Each setting has one run; for medians over seeds, sweep seed=0,1,2"
    over_time = bool(table["time_decades_runs"].any())
    return (
        "Each cell: median over the runs of a setting [minimum, maximum]; (2/3) means that two of "
        "three runs have a value. decades: log10 of the error signal's ratio, first layer to last "
        "layer; slope: decades per layer"
        + ("; time_decades: the same for the state's gradient, first time step to last" * over_time)
    )


def describe_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> str:
    """State how many seeds a setting has: `5 seeds`, `1 to 5 seeds`.

    Runs are counted, `4 runs`, if some runs of a setting have the same seed.

    Returns:
        The text.
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
    """Return the most frequent verdict. In a tie, "healthy" loses."""
    counts = words.value_counts()
    return str(max(counts.index, key=lambda word: (counts[word], word != "healthy")))


def verdict_counts(words: pd.Series) -> str:
    """Count each word, the most frequent first: `vanishing 4/5, healthy 1/5`.

    For one run, return its word alone.

    Returns:
        The text.
    """
    if len(words) == 1:
        return str(words.iloc[0])
    return ", ".join(f"{each} {n}/{len(words)}" for each, n in words.value_counts().items())


def _median_cell(row: pd.Series, name: str) -> str:
    """Return `-4.25 [-4.28, -4.23]`, with ` (3/5)` where only 3 of 5 runs have a value."""
    known = int(row[f"{name}_runs"])
    if not known:
        return ""
    middle, low, high = (three_digits(row[f"{name}{part}"]) for part in ("", "_low", "_high"))
    spread = f" [{low}, {high}]" if known > 1 else ""
    return f"{middle}{spread}" + (f" ({known}/{row['runs']})" if known < row["runs"] else "")


def three_digits(value: float) -> str:
    """Return a number with three digits; `inf` and `nan` as they are."""
    return f"{value:.3g}" if np.isfinite(value) else format_value(value)
