"""The titles and sentences of the report, each computed from its table."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from gradlab.diagnosis.record import LIMITS
from gradlab.pages.numbers import count
from gradlab.report.swept_keys import format_value, levels, setting_label, short_key

LEARNT = 0.1  # share of the first loss by which the last one must be below it


def headline(runs: pd.DataFrame) -> str:
    """Say how many runs are sick, and of what."""
    judged, sick = _judged(runs), _sick(runs)
    if judged.empty:
        one = len(runs) == 1
        return (
            "The run has no verdict yet" if one else f"None of {len(runs)} runs has a verdict yet"
        )
    if sick.empty:
        return f"All of {len(judged)} networks are healthy" if len(judged) > 1 else "Healthy"
    if len(judged) == 1:
        return f"The network is sick: {sick['verdict'].iloc[0]}"
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sick["verdict"].value_counts().items())
    return f"{len(sick)} of {len(judged)} networks {_be(sick, 'is', 'are')} sick: {counts}"


def onset_title(runs: pd.DataFrame) -> str:
    """Say how many of the sick were so from initialisation on, and how many since a later step."""
    judged, sick = _judged(runs), _sick(runs)
    if judged.empty or sick.empty:
        return "No network is sick" if len(judged) else "No run has a verdict yet"
    since = sick["since"].astype(float)
    parts = (
        (since == 0, "was so", "were so", "at initialisation"),
        (since > 0, "became so", "became so", "in training"),
        (since.isna(), "became so", "became so", "at a step that is not known"),
    )
    told = [
        f"{int(held.sum())} {_be(sick[held], one, many)} {when}"
        for held, one, many, when in parts
        if held.any()
    ]
    total = f"{len(sick)} of {count(len(judged), 'network')} {_be(sick, 'is', 'are')} sick"
    return f"{total}: {', '.join(told)}"


def key_influence(runs: pd.DataFrame, keys: list[str]) -> list[str]:
    """Say of each key in how many settings of the others (and seed) it changes the verdict."""
    told: list[str] = []
    for key in keys:
        others = [k for k in [*keys, "seed"] if k != key and k in runs]
        if not others:
            continue
        grouped = runs.groupby(others, dropna=False)
        compared = grouped[key].nunique() > 1
        changed = grouped["verdict"].nunique()[compared] > 1
        if len(changed):
            told.append(
                f"{short_key(key)}: the verdict depends on it in {int(changed.sum())} of "
                f"{count(len(changed), 'setting')} of everything else"
            )
    return told


def learning_title(runs: pd.DataFrame) -> str:
    """Say what the verdicts mean for the loss: the median of the last losses of each.

    And how many of the healthy did not learn, for a healthy gradient is not yet learning.
    """
    begun = _judged(runs)
    begun = begun[begun["steps"] > 0]
    ended = np.isfinite(begun["final_loss"])
    if not ended.any():
        return (
            "No run ends with a finite loss" if len(begun) else "No run with a verdict has a loss"
        )
    last = begun[ended].groupby("verdict")["final_loss"].agg(["median", "size"])
    last = last.sort_values("median")
    told = [f"{verdict} {median:.2g} (of {n})" for verdict, median, n in last.itertuples(name=None)]
    lost = begun[~ended]["verdict"].value_counts()
    told += [
        f"not finite in {n} of {int((begun['verdict'] == verdict).sum())} {verdict}"
        for verdict, n in lost.items()
    ]
    return (
        f"Median of the last loss: {', '.join(told)}{_idle(begun[begun['verdict'] == 'healthy'])}"
    )


def _idle(healthy: pd.DataFrame) -> str:
    first, last = healthy["first_loss"], healthy["final_loss"]
    idle = int((~(last < first - LEARNT * first.abs())).sum())
    told = f"; in {idle} of {len(healthy)} healthy runs it fell by less than {LEARNT:.0%}"
    return told if idle else ""


def _judged(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["verdict"].notna()]


def _sick(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["verdict"].notna() & (runs["verdict"] != "healthy")]


def _be(runs: pd.DataFrame, one: str, many: str) -> str:
    return one if len(runs) == 1 else many


DECADES = LIMITS["decades"]
MOST_LEVELS = 6  # of a key that a title can hold
FACTOR_NAMES = {
    "act_factor": "activations",
    "weight_factor": "weights",
    "norm_factor": "normalisation",
}


def extremes_title(table: pd.DataFrame, keys: list[str]) -> str:
    """Name the settings in which the error signal loses and gains most (see `cells.by_setting`)."""
    known = table.dropna(subset=["decades"])
    if known.empty:
        return _incomparable("error signal")
    told: list[str] = []
    for sign, verb, without_end in ((-1, "loses", "loses everything"), (1, "gains", "is infinite")):
        size = sign * known["decades"]
        if size.max() > 1:
            much = f"{verb} {_decades(size.max())}" if np.isfinite(size.max()) else without_end
            where = f" ({setting_label(known.loc[size.idxmax()], keys)})" if keys else ""
            told.append(f"{much}{where}")
    if told:
        return f"The error signal {' and '.join(told)}"
    every = len(known) == len(table)
    where = "" if every else f" in the {len(known)} of {len(table)} settings that have a ratio"
    return f"The error signal keeps its size to within a factor of ten{where}"


def reach_title(runs: pd.DataFrame, keys: list[str]) -> str:
    """Say, for each level of the first key, in how many runs the signal stays within 3 decades."""
    if runs["decades"].isna().all():
        return _incomparable("error signal")
    kept = _kept(runs["decades"])
    where = f"{int(kept.sum())} of {len(runs)} runs"
    if keys and runs[keys[0]].nunique() <= MOST_LEVELS:
        key = runs[keys[0]]
        within = [(level, kept[key == level]) for level in levels(key)]
        where = ", ".join(
            f"{int(group.sum())} of {len(group)} at {short_key(keys[0])} {format_value(level)}"
            for level, group in within
        )
    return f"The error signal stays within {DECADES:g} decades over depth in {where}"


def weights_title(runs: pd.DataFrame) -> str:
    """Say in how many runs the weight gradient stays within 3 decades, and the error signal."""
    if runs["weight_decades"].isna().all():
        return _incomparable("weight gradient")
    kept, signal = _kept(runs["weight_decades"]).sum(), _kept(runs["decades"]).sum()
    return (
        f"The weight gradient of the first layer is within {DECADES:g} decades of the last's in "
        f"{int(kept)} of {len(runs)} runs, the error signal in {int(signal)}"
    )


def activation_title(table: pd.DataFrame, key: str | None) -> str:
    """Say of each level of a key how many decades a layer the activations take.

    A level has one number for all settings of the other keys, which are named.
    """
    known = table.dropna(subset=["act_factor"])
    if known.empty:
        return "What activations add cannot be told: no factor is finite and above 0"
    others = [
        short_key(str(each))
        for each in table.columns.drop([*FACTOR_NAMES, key], errors="ignore")
        if table[each].nunique(dropna=False) > 1
    ]
    over = f", mean over {', '.join(others)}" if others else ""
    if key is None:
        return f"The activations add {_signed(known['act_factor'].mean())} decades a layer{over}"
    means = known.groupby(key, sort=False)["act_factor"].mean()
    of = "" if key == "model.activation" else f"{short_key(key)} "
    return f"Decades a layer that activations add{over}: " + ", ".join(
        f"{of}{format_value(level)} {_signed(value)}" for level, value in means.items()
    )


def factors_title(records: Iterable[tuple[str, Mapping[str, float]]]) -> str:
    """Say of each verdict's run how many decades a layer it gains, and through which factors."""
    told: list[str] = []
    for verdict, means in records:
        parts = {
            name: means[column]
            for column, name in FACTOR_NAMES.items()
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
