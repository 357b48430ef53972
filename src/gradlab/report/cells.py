"""A cell per setting: decades that the error signal gains or loses, over the runs that count."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gradlab.report.settings import levels


class Cells(NamedTuple):
    """Three tables of the same shape, one row and column per setting: see `by_setting`.

    `of` is 0 in a cell that was not run.
    """

    decades: pd.DataFrame
    runs: pd.DataFrame
    of: pd.DataFrame


def pivot(runs: pd.DataFrame, keys: list[str]) -> Cells:
    """Return the settings as a grid: first and fourth key across, the others down.

    A row or column in which nothing was run is not there.
    """
    table = by_setting(runs, keys)
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


def by_setting(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row per setting: its typical `decades`, the `runs` they stand for, `of` how many.

    A run counts if it has a ratio of the kind shown: finite, exactly 0, or infinite.
    """
    by: Any = keys or (lambda _: 0)  # without keys, one setting
    grouped = runs.groupby(by, sort=False)["decades"]
    return grouped.agg(decades=typical, runs=counted, of="size").reset_index(drop=not keys)


def counted(decades: pd.Series) -> int:
    """Return over how many runs `typical` is taken."""
    value = typical(decades)
    same = np.isfinite(decades) if np.isfinite(value) else decades == value
    return int(same.sum())


def typical(decades: pd.Series) -> float:
    """Return the mean of the finite values, unless most are -inf or +inf."""
    values = decades.dropna().to_numpy()
    if not len(values):
        return float("nan")
    for edge in (-np.inf, np.inf):
        if (values == edge).mean() >= 0.5:
            return float(edge)
    return float(values[np.isfinite(values)].mean())
