"""What the figures over depth show, in words: their titles, computed from their tables."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from gradlab.diagnosis.record import LIMITS
from gradlab.report.settings import label, levels, short, word

DECADES = LIMITS["decades"]
MOST_LEVELS = 6  # of a key that a title can hold
FACTORS = {"act_factor": "activations", "weight_factor": "weights", "norm_factor": "normalisation"}


def extremes(table: pd.DataFrame, keys: list[str]) -> str:
    """Name the settings in which the error signal loses and gains most (see `cells.by_setting`)."""
    known = table.dropna(subset=["decades"])
    if known.empty:
        return _incomparable("error signal")
    told: list[str] = []
    for sign, verb, without_end in ((-1, "loses", "loses everything"), (1, "gains", "is infinite")):
        size = sign * known["decades"]
        if size.max() > 1:
            much = f"{verb} {_decades(size.max())}" if np.isfinite(size.max()) else without_end
            where = f" ({label(known.loc[size.idxmax()], keys)})" if keys else ""
            told.append(f"{much}{where}")
    if told:
        return f"The error signal {' and '.join(told)}"
    every = len(known) == len(table)
    where = "" if every else f" in the {len(known)} of {len(table)} settings that have a ratio"
    return f"The error signal keeps its size to within a factor of ten{where}"


def reach(runs: pd.DataFrame, keys: list[str]) -> str:
    """Say, for each level of the first key, in how many runs the signal stays within 3 decades."""
    if runs["decades"].isna().all():
        return _incomparable("error signal")
    kept = _kept(runs["decades"])
    where = f"{int(kept.sum())} of {len(runs)} runs"
    if keys and runs[keys[0]].nunique() <= MOST_LEVELS:
        key = runs[keys[0]]
        within = [(level, kept[key == level]) for level in levels(key)]
        where = ", ".join(
            f"{int(group.sum())} of {len(group)} at {short(keys[0])} {word(level)}"
            for level, group in within
        )
    return f"The error signal stays within {DECADES:g} decades over depth in {where}"


def weights(runs: pd.DataFrame) -> str:
    """Say in how many runs the weight gradient stays within 3 decades, and the error signal."""
    if runs["weight_decades"].isna().all():
        return _incomparable("weight gradient")
    kept, signal = _kept(runs["weight_decades"]).sum(), _kept(runs["decades"]).sum()
    return (
        f"The weight gradient of the first layer is within {DECADES:g} decades of the last's in "
        f"{int(kept)} of {len(runs)} runs, the error signal in {int(signal)}"
    )


def per_layer(table: pd.DataFrame, key: str | None) -> str:
    """Say of each level of a key how many decades a layer the activations take.

    A level has one number for all settings of the other keys, which are named.
    """
    known = table.dropna(subset=["act_factor"])
    if known.empty:
        return "What activations add cannot be told: no factor is finite and above 0"
    others = [
        short(str(each))
        for each in table.columns.drop([*FACTORS, key], errors="ignore")
        if table[each].nunique(dropna=False) > 1
    ]
    over = f", mean over {', '.join(others)}" if others else ""
    if key is None:
        return f"The activations add {_signed(known['act_factor'].mean())} decades a layer{over}"
    means = known.groupby(key, sort=False)["act_factor"].mean()
    of = "" if key == "model.activation" else f"{short(key)} "
    return f"Decades a layer that activations add{over}: " + ", ".join(
        f"{of}{word(level)} {_signed(value)}" for level, value in means.items()
    )


def by_factor(records: Iterable[tuple[str, Mapping[str, float]]]) -> str:
    """Say of each verdict's run how many decades a layer it gains, and through which factors."""
    told: list[str] = []
    for verdict, means in records:
        parts = {
            name: means[column]
            for column, name in FACTORS.items()
            if np.isfinite(means[column]) and (column != "norm_factor" or abs(means[column]) > 1e-6)
        }
        if parts:
            named = ", ".join(f"{name} {_signed(value)}" for name, value in parts.items())
            told.append(f"{verdict} {_signed(sum(parts.values()))} ({named})")
    if not told:
        return "What each layer adds cannot be told: no factor is finite and above 0"
    return f"Decades that a layer adds to the error signal: {'; '.join(told)}"


def _kept(decades: pd.Series) -> pd.Series:
    return decades.abs() <= DECADES


def _signed(decades: float) -> str:
    return f"{round(decades, 2) + 0.0:+.2f}"  # no -0.00


def _decades(size: float) -> str:
    """Return a size in decades: `1.2 decades`, `17 decades`."""
    return f"{size:.1f} decades" if size < 9.95 else f"{size:.0f} decades"


def _incomparable(name: str) -> str:
    return f"In no run can the {name} of the first layer be compared with that of the last"
