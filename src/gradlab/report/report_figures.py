"""Draw the figures of a report, each with a title that states a finding."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gradlab.pages.style import print_style, save_figure
from gradlab.report.by_setting import decades_by_setting, describe_seeds, pivot_decades
from gradlab.report.factor_figures import (
    draw_factor_plane,
    draw_factors_by_layer,
    factors_by_run,
    factors_by_setting,
)
from gradlab.report.heatmap import draw_heatmap
from gradlab.report.layer_profile import draw_profile, time_title
from gradlab.report.module_table import average_blocks, broken_chains
from gradlab.report.prediction import draw_theory, model_keys, theory_title
from gradlab.report.reduce import STATE, Reduced, rows_with_signal
from gradlab.report.swept_keys import setting_label
from gradlab.report.titles import (
    activation_title,
    extremes_title,
    factors_title,
    learning_title,
    onset_title,
    reach_title,
    weights_title,
)
from gradlab.report.training_curves import draw_losses, draw_timeline, pick_runs
from gradlab.results.load import Run


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk.

    Attributes:
        name: name of its files, without suffix.
        title: its title, which states a finding.
    """

    name: str
    title: str


Drawing = tuple[str, bool, str, Callable[[str], Any]]
"""Name, whether there is data to draw, title, and the function that draws it with a title."""


def draw_figures(
    runs: list[Run],
    frame: pd.DataFrame,
    keys: list[str],
    reduced: Reduced,
    theory: pd.DataFrame,
    residuals: pd.DataFrame,
    folder: Path,
) -> list[SavedFigure]:
    """Draw and save every figure for which there is data.

    Args:
        runs: the runs.
        frame: a row per run, of `run_table`.
        keys: the keys that the sweep varied.
        reduced: the summaries of the runs.
        theory: a row per network and layer, of `join_theory`.
        residuals: a row per setting, of `theory_residuals`.
        folder: the folder to save to, which exists.

    Returns:
        The figures in the order of the page.
    """
    if reduced.layers.empty:
        return []
    drawn: list[SavedFigure] = []
    for name, possible, title, drawing in _drawings(runs, frame, keys, reduced, theory, residuals):
        if possible:
            with print_style():
                save_figure(drawing(title), folder, name)
            drawn.append(SavedFigure(name, title))
    return drawn


def _drawings(
    runs: list[Run],
    frame: pd.DataFrame,
    keys: list[str],
    reduced: Reduced,
    theory: pd.DataFrame,
    residuals: pd.DataFrame,
) -> list[Drawing]:
    """Return the name, title and drawing function of each figure.

    Args:
        runs: the runs.
        frame: a row per run.
        keys: the keys that the sweep varied.
        reduced: the summaries of the runs.
        theory: a row per network and layer.
        residuals: a row per setting.

    Returns:
        The drawings in the order of the page.
    """
    layers = reduced.layers.merge(frame[["run", *keys]], on="run")
    time = reduced.time
    if len(time):
        time = time.merge(frame[["run", *keys]], on="run")
    chains = layers[~layers["run"].isin(broken_chains(runs, reduced.layers))]
    by_setting = factors_by_setting(chains, keys)
    decades = decades_by_setting(frame, keys)
    names = {row["run"]: _run_label(row, frame, keys) for _, row in frame.iterrows()}
    seeds = describe_seeds(frame, keys)
    blocks = average_blocks(runs, layers)
    many = bool((blocks["position"] != layers["position"]).any())
    averaged = f"a block's modules in {seeds}" if many else seeds
    networks = describe_seeds(theory.drop_duplicates("run"), model_keys(keys))
    by_name = {run.name: run for run in runs}
    recorded = frame[frame["run"].isin(layers["run"])]
    picked = pick_runs(recorded)
    in_chains = [run for run in picked if run in set(chains["run"])]
    factor_records = [(names[run], chains[chains["run"] == run]) for run in in_chains]
    columns = ["step", "axis", "position", "delta_norm"]
    steps = frame.set_index("run")["steps"]
    signal_records = [
        (names[run], rows_with_signal(by_name[run], by_name[run].layers(columns)), int(steps[run]))
        for run in picked
    ]
    deep = bool(frame["decades"].notna().any())
    compared = next((k for k in ("model.activation", *keys) if k in keys), None)
    return [
        (
            "decades",
            deep and bool(keys),
            extremes_title(decades, keys),
            partial(draw_heatmap, pivot_decades(frame, keys), seeds),
        ),
        (
            "profile",
            True,
            reach_title(frame, keys),
            partial(draw_profile, blocks, keys, "delta_norm", averaged),
        ),
        (
            "through_time",
            len(time) > 0,
            time_title(time),
            partial(draw_profile, time, keys, STATE, seeds),
        ),
        (
            "theory",
            len(residuals) > 0,
            theory_title(residuals) if len(residuals) else "",
            partial(draw_theory, theory, keys, networks),
        ),
        (
            "factors",
            deep and len(chains) > 0,
            activation_title(by_setting, compared),
            partial(draw_factor_plane, by_setting, keys, seeds),
        ),
        (
            "factors_by_layer",
            deep and len(factor_records) > 0,
            factors_title(_mean_factors(chains, frame, in_chains)),
            partial(draw_factors_by_layer, factor_records),
        ),
        (
            "losses",
            True,
            learning_title(frame),
            partial(draw_losses, reduced.losses, frame, keys),
        ),
        ("timeline", True, onset_title(frame), partial(draw_timeline, signal_records)),
        (
            "profile_weights",
            True,
            weights_title(frame),
            partial(draw_profile, blocks, keys, "weight_grad_norm", averaged),
        ),
    ]


def _mean_factors(
    layers: pd.DataFrame, frame: pd.DataFrame, picked: list[str]
) -> list[tuple[str, dict[str, float]]]:
    """Average the decades per layer of each factor, for some runs.

    Args:
        layers: rows of `Reduced.layers`.
        frame: a row per run.
        picked: the names of the runs.

    Returns:
        Verdict and means of each run.
    """
    chosen = layers[layers["run"].isin(picked)]
    means: dict[Any, Any] = factors_by_run(chosen, []).set_index("run").to_dict("index")
    verdicts = frame.set_index("run")["verdict"]
    return [(_verdict_text(verdicts[run]), means[run]) for run in picked if run in means]


def _run_label(row: pd.Series, frame: pd.DataFrame, keys: list[str]) -> str:
    """Label the panel of one run: `vanishing (1 of 4 runs): depth 50, sigmoid, seed 2`.

    Args:
        row: the row of the run.
        frame: a row per run.
        keys: the keys that the sweep varied.

    Returns:
        The label.
    """
    verdict = _verdict_text(row["verdict"])
    same = int((frame["verdict"].map(_verdict_text) == verdict).sum())
    one = f" (1 of {same} runs)" if same > 1 else ""
    seed = f", seed {row['seed']}" if frame["seed"].nunique() > 1 else ""
    return f"{verdict}{one}: {setting_label(row, keys)}{seed}"


def _verdict_text(verdict: Any) -> str:
    return verdict if isinstance(verdict, str) else "no verdict"
