"""The findings about runs in words: every sentence of the report is computed from its table."""

import numpy as np
import pandas as pd

from gradlab.report.settings import short

LEARNT = 0.1  # share of the first loss by which the last one must be below it


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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


def onset(runs: pd.DataFrame) -> str:
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


def influence(runs: pd.DataFrame, keys: list[str]) -> list[str]:
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
                f"{short(key)}: the verdict depends on it in {int(changed.sum())} of "
                f"{count(len(changed), 'setting')} of everything else"
            )
    return told


def learning(runs: pd.DataFrame) -> str:
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
