"""The titles and sentences of the report. Each is computed from the table that it describes."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from gradlab.diagnosis.record import LIMITS
from gradlab.pages.numbers import count, decades_text, factor_text
from gradlab.report.swept_keys import format_value, levels, setting_label, short_key

LEARNT = 0.1  # a network has learnt if its loss fell by this share of the first loss


def headline(runs: pd.DataFrame) -> str:
    """State how many runs are not healthy, and their verdicts.

    Args:
        runs: a row per run, of `run_table`.

    Returns:
        A sentence without full stop, such as `2 of 8 runs are not healthy: 2 vanishing`.
    """
    diagnosed, unhealthy = _diagnosed(runs), _unhealthy(runs)
    if diagnosed.empty:
        one = len(runs) == 1
        return (
            "The run has no verdict yet" if one else f"None of {len(runs)} runs has a verdict yet"
        )
    if unhealthy.empty:
        return _all_healthy(diagnosed)
    if len(diagnosed) == 1:
        return f"The run is not healthy: {unhealthy['verdict'].iloc[0]}"
    verdicts = unhealthy["verdict"].value_counts().items()
    return f"{_count_unhealthy(runs)}: {', '.join(f'{n} {verdict}' for verdict, n in verdicts)}"


def onset_title(runs: pd.DataFrame) -> str:
    """State since when the runs are not healthy: since initialisation, or since a later step."""
    diagnosed, unhealthy = _diagnosed(runs), _unhealthy(runs)
    if diagnosed.empty or unhealthy.empty:
        return _all_healthy(diagnosed) if len(diagnosed) else "No run has a verdict yet"
    since = unhealthy["since"].astype(float)
    parts = (
        (since == 0, "since initialisation"),
        (since > 0, "since a later step"),
        (since.isna(), "since an unknown step"),
    )
    counts = [f"{int(holds.sum())} {when}" for holds, when in parts if holds.any()]
    return f"{_count_unhealthy(runs)}: {', '.join(counts)}"


def key_influence(runs: pd.DataFrame, keys: list[str]) -> list[str]:
    """State for each swept key how often it changes the verdict when all other keys are equal."""
    sentences: list[str] = []
    for key in keys:
        others = [k for k in [*keys, "seed"] if k != key and k in runs]
        if not others:
            continue
        grouped = runs.groupby(others, dropna=False)
        compared = grouped[key].nunique() > 1
        changed = grouped["verdict"].nunique()[compared] > 1
        if len(changed):
            sentences.append(
                f"{short_key(key)} changes the verdict in {int(changed.sum())} of "
                f"{count(len(changed), 'combination')} of the other keys and the seed"
            )
    return sentences


def learning_title(runs: pd.DataFrame) -> str:
    """State the median final loss of each verdict, and how many healthy runs did not learn."""
    begun = _diagnosed(runs)
    begun = begun[begun["steps"] > 0]
    ended = np.isfinite(begun["final_loss"])
    if not ended.any():
        return (
            "No run ends with a finite loss" if len(begun) else "No run with a verdict has a loss"
        )
    last = begun[ended].groupby("verdict")["final_loss"].agg(["median", "size"])
    last = last.sort_values("median")
    parts = [
        f"{verdict} {median:.2g} ({count(n, 'run')})"
        for verdict, median, n in last.itertuples(name=None)
    ]
    lost = begun[~ended]["verdict"].value_counts()
    parts += [
        f"not finite in {n} of {count(int((begun['verdict'] == verdict).sum()), f'{verdict} run')}"
        for verdict, n in lost.items()
    ]
    idle = _describe_idle(begun[begun["verdict"] == "healthy"])
    return f"Median final loss: {', '.join(parts)}{idle}"


def _describe_idle(healthy: pd.DataFrame) -> str:
    first, last = healthy["first_loss"], healthy["final_loss"]
    idle = int((~(last < first - LEARNT * first.abs())).sum())
    text = f"; in {idle} of {len(healthy)} healthy runs the loss fell by less than {LEARNT:.0%}"
    return text if idle else ""


def _diagnosed(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["verdict"].notna()]


def _unhealthy(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["verdict"].notna() & ~runs["verdict"].isin(["healthy", "too_early"])]


def _all_healthy(diagnosed: pd.DataFrame) -> str:
    runs, early = len(diagnosed), int((diagnosed["verdict"] == "too_early").sum())
    if not early:
        return f"All {runs} runs are healthy" if runs > 1 else "Healthy"
    if early == runs:
        return "It is too early to judge " + ("any run" if runs > 1 else "the run")
    return f"{runs - early} of {runs} runs are healthy; for {early}, it is too early to judge"


def _count_unhealthy(runs: pd.DataFrame) -> str:
    n = len(_unhealthy(runs))
    total = count(len(_diagnosed(runs)), "run")
    return f"{n} of {total} {'is' if n == 1 else 'are'} not healthy"


DECADES = LIMITS["decades"]
MOST_LEVELS = 6  # a title lists at most as many levels of a key
FACTOR_NAMES = {
    "act_factor": "activations",
    "weight_factor": "weights",
    "norm_factor": "normalisation",
}


def extremes_title(table: pd.DataFrame, keys: list[str]) -> str:
    """Name the settings in which the error signal falls and grows most.

    Args:
        table: a row per setting, of `by_setting.decades_by_setting`.
        keys: the swept keys.

    Returns:
        A sentence without full stop.
    """
    known = table.dropna(subset=["decades"])
    if known.empty:
        return _incomparable("error signal")
    parts: list[str] = []
    for sign, verb, limit in ((-1, "falls", "falls to exactly 0"), (1, "grows", "is infinite")):
        size = sign * known["decades"]
        if size.max() > 1:
            change = f"{verb} {decades_text(size.max())}" if np.isfinite(size.max()) else limit
            where = f" with {setting_label(known.loc[size.idxmax()], keys)}" if keys else ""
            parts.append(f"{change}{where}")
    start = "From last layer to first, the error signal"
    if parts:
        return f"{start} {' and '.join(parts)}"
    every = len(known) == len(table)
    where = "" if every else f" in the {len(known)} of {len(table)} settings that have a ratio"
    return f"{start} changes at most 10-fold{where}"


def reach_title(runs: pd.DataFrame, keys: list[str]) -> str:
    """State in how many runs the error signal changes little over depth, by level of a key.

    Args:
        runs: a row per run, of `run_table`.
        keys: the swept keys; the title has a count for each level of the first one.

    Returns:
        A sentence without full stop.
    """
    if runs["decades"].isna().all():
        return _incomparable("error signal")
    within = _within_limit(runs["decades"])
    where = f"{int(within.sum())} of {count(len(runs), 'run')}"
    if keys and runs[keys[0]].nunique() <= MOST_LEVELS:
        key = runs[keys[0]]
        where = ", ".join(
            f"{int(group.sum())} of {count(len(group), 'run')} with {short_key(keys[0])} "
            f"{format_value(level)}"
            for level, group in ((level, within[key == level]) for level in levels(key))
        )
    return f"Over depth, the error signal changes at most {decades_text(DECADES)} in {where}"


def weights_title(runs: pd.DataFrame) -> str:
    """State in how many runs weight gradient and error signal change little over depth."""
    if runs["weight_decades"].isna().all():
        return _incomparable("weight gradient")
    weights, signal = _within_limit(runs["weight_decades"]), _within_limit(runs["decades"])
    return (
        f"Over depth, the weight gradient changes at most {decades_text(DECADES)} in "
        f"{int(weights.sum())} of {count(len(runs), 'run')}, the error signal in "
        f"{int(signal.sum())}"
    )


def activation_title(table: pd.DataFrame, key: str | None) -> str:
    """State the decades per layer that activations add, for each level of a key.

    Args:
        table: a row per setting, of `factor_figures.factors_by_setting`.
        key: the key whose levels are compared; None for one mean over all settings.

    Returns:
        A sentence without full stop. It names the other keys, over which the means are taken.
    """
    known = table.dropna(subset=["act_factor"])
    if known.empty:
        return "No activation factor is finite and above 0"
    others = [
        short_key(str(each))
        for each in table.columns.drop([*FACTOR_NAMES, key], errors="ignore")
        if table[each].nunique(dropna=False) > 1
    ]
    over = f", mean over {', '.join(others)}" if others else ""
    start = f"Decades per layer that activations add to the error signal{over}: "
    if key is None:
        return start + _signed_factor(known["act_factor"].mean())
    means = known.groupby(key, sort=False)["act_factor"].mean()
    name = "" if key == "model.activation" else f"{short_key(key)} "
    return start + ", ".join(
        f"{name}{format_value(level)} {_signed_factor(value)}" for level, value in means.items()
    )


def factors_title(records: Iterable[tuple[str, Mapping[str, float]]]) -> str:
    """State the decades per layer of each run, in total and by factor.

    Args:
        records: verdict and mean log10 of each factor column, for each run.

    Returns:
        A sentence without full stop.
    """
    texts: list[str] = []
    for verdict, means in records:
        parts = {
            name: means[column]
            for column, name in FACTOR_NAMES.items()
            if np.isfinite(means[column]) and (column != "norm_factor" or abs(means[column]) > 1e-6)
        }
        if parts:
            named = ", ".join(f"{name} {_signed(value)}" for name, value in parts.items())
            texts.append(f"{verdict} {_signed_factor(sum(parts.values()))}: {named}")
    if not texts:
        return "No factor is finite and above 0"
    return f"Decades that a layer adds to the error signal: {'; '.join(texts)}"


def _within_limit(decades: pd.Series) -> pd.Series:
    return decades.abs() <= DECADES


def _signed(decades: float) -> str:
    return f"{round(decades, 2) + 0.0:+.2f}"  # no -0.00


def _signed_factor(decades: float) -> str:
    """Return decades with their sign and the plain factor: `-0.61 (4.1-fold)`."""
    return f"{_signed(decades)} ({factor_text(decades)})"


def _incomparable(name: str) -> str:
    return f"No run has a finite ratio of the {name} between the first and the last layer"
