"""The findings in words: every title and sentence of the report is computed from its table."""

import numpy as np
import pandas as pd

from gradlab.diagnose.rules import DECADES
from gradlab.report.settings import label, short


def headline(runs: pd.DataFrame) -> str:
    """Say how many runs are sick, and of what."""
    judged = runs[runs["verdict"].notna()]
    sick = judged[judged["verdict"] != "healthy"]
    if judged.empty:
        return f"None of {len(runs)} runs has a verdict yet"
    if sick.empty:
        return f"All of {len(judged)} networks are healthy" if len(judged) > 1 else "Healthy"
    if len(judged) == 1:
        return f"The network is sick: {sick['verdict'].iloc[0]}"
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sick["verdict"].value_counts().items())
    verb = "is" if len(sick) == 1 else "are"
    return f"{len(sick)} of {len(judged)} networks {verb} sick: {counts}"


def extremes(runs: pd.DataFrame, keys: list[str]) -> str:
    """Name the settings in which the error signal loses and gains most."""
    told: list[str] = []
    known = runs.dropna(subset=["decades"])
    for word, sign in (("loses", -1.0), ("gains", 1.0)):
        size = sign * known["decades"]
        if len(known) and size.max() > 1:
            worst = known.loc[size.idxmax()]
            much = f"{size.max():.0f} decades" if np.isfinite(size.max()) else "everything"
            told.append(f"{word} {much} ({label(worst, keys)})")
    return "The error signal " + " and ".join(told) if told else "The error signal keeps its size"


def reach(runs: pd.DataFrame, keys: list[str]) -> str:
    """Say, for each level of the first key, in how many runs the signal stays within 3 decades."""
    if runs["decades"].isna().all():
        return "The error signal"
    kept = runs["decades"].abs() <= DECADES
    if not keys:
        return f"The error signal stays within 3 decades in {int(kept.sum())} of {len(runs)} runs"
    told = [
        f"{int(group.sum())} of {len(group)} at {short(keys[0])} {level}"
        for level, group in kept.groupby(runs[keys[0]])
    ]
    return f"The error signal stays within 3 decades over depth in {', '.join(told)}"


def onset(runs: pd.DataFrame) -> str:
    """Say how many sick runs were so from their first record on."""
    since = runs["since"].dropna()
    if since.empty:
        return "No layer's signal is out of proportion at any step"
    return (
        f"{int((since == 0).sum())} of {len(since)} sick networks were sick at initialisation: "
        "training did not make them so"
        if (since == 0).any()
        else f"All {len(since)} sick networks became so in training"
    )


def per_layer(table: pd.DataFrame, key: str | None) -> str:
    """Say of each level of a key how many decades a layer the activations take."""
    if key is None:
        return f"The activations take {table['act_factor'].mean():+.2f} decades a layer"
    means = table.groupby(key, sort=False)["act_factor"].mean()
    return "Decades a layer that activations take: " + ", ".join(
        f"{level} {value:+.2f}" for level, value in means.items()
    )


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
                f"{len(changed)} settings of everything else"
            )
    return told


def learning(runs: pd.DataFrame) -> str:
    """Say what the verdicts mean for the loss: the median of the last losses of each."""
    last = runs[np.isfinite(runs["final_loss"])].groupby("verdict")["final_loss"].median()
    order = last.sort_values()
    return "Median of the last loss: " + ", ".join(f"{v} {x:.2g}" for v, x in order.items())
