"""Every figure of a report: what is drawn, from which table, under which finding."""

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
class Drawn:
    """A figure on disk: its file's name and the finding that is its title."""

    name: str
    title: str


Drawing = tuple[str, bool, str, Callable[[str], Any]]


def draw_figures(
    runs: list[Run],
    frame: pd.DataFrame,
    keys: list[str],
    reduced: Reduced,
    theory: pd.DataFrame,
    left: pd.DataFrame,
    folder: Path,
) -> list[Drawn]:
    """Draw and save every figure for which there is something to draw; return them in order.

    `theory` and `left` are the join of `prediction`, and its residuals by setting.
    """
    if reduced.layers.empty:
        return []
    drawn: list[Drawn] = []
    for name, possible, title, drawing in _drawings(runs, frame, keys, reduced, theory, left):
        if possible:
            with print_style():
                save_figure(drawing(title), folder, name)
            drawn.append(Drawn(name, title))
    return drawn


def _drawings(
    runs: list[Run],
    frame: pd.DataFrame,
    keys: list[str],
    reduced: Reduced,
    theory: pd.DataFrame,
    left: pd.DataFrame,
) -> list[Drawing]:
    """Return of each figure its name, whether there is anything to draw, its title, and how."""
    layers = reduced.layers.merge(frame[["run", *keys]], on="run")
    time = reduced.time
    if len(time):
        time = time.merge(frame[["run", *keys]], on="run")
    chains = layers[~layers["run"].isin(broken_chains(runs, reduced.layers))]
    by_setting = factors_by_setting(chains, keys)
    decades = decades_by_setting(frame, keys)
    names = {row["run"]: _named(row, frame, keys) for _, row in frame.iterrows()}
    behind = describe_seeds(frame, keys)
    blocks = average_blocks(runs, layers)
    many = bool((blocks["position"] != layers["position"]).any())
    within = f"a block's modules in {behind}" if many else behind
    networks = describe_seeds(_networks(theory), model_keys(keys))
    by_name = {run.name: run for run in runs}
    recorded = frame[frame["run"].isin(layers["run"])]
    picked = pick_runs(recorded)
    linked = [run for run in picked if run in set(chains["run"])]
    few = [(names[run], chains[chains["run"] == run]) for run in linked]
    record = ["step", "axis", "position", "delta_norm"]
    taken = frame.set_index("run")["steps"]
    single = [
        (names[run], rows_with_signal(by_name[run], by_name[run].layers(record)), int(taken[run]))
        for run in picked
    ]
    deep = bool(frame["decades"].notna().any())
    ruling = next((k for k in ("model.activation", *keys) if k in keys), None)
    return [
        (
            "decades",
            deep and bool(keys),
            extremes_title(decades, keys),
            partial(draw_heatmap, pivot_decades(frame, keys), behind),
        ),
        (
            "profile",
            True,
            reach_title(frame, keys),
            partial(draw_profile, blocks, keys, "delta_norm", within),
        ),
        (
            "through_time",
            len(time) > 0,
            time_title(time),
            partial(draw_profile, time, keys, STATE, behind),
        ),
        (
            "theory",
            len(left) > 0,
            theory_title(left) if len(left) else "",
            partial(draw_theory, theory, keys, networks),
        ),
        (
            "factors",
            deep and len(chains) > 0,
            activation_title(by_setting, ruling),
            partial(draw_factor_plane, by_setting, keys, behind),
        ),
        (
            "factors_by_layer",
            deep and len(few) > 0,
            factors_title(_factors(chains, frame, linked)),
            partial(draw_factors_by_layer, few),
        ),
        (
            "losses",
            True,
            learning_title(frame),
            partial(draw_losses, reduced.losses, frame, keys),
        ),
        ("timeline", True, onset_title(frame), partial(draw_timeline, single)),
        (
            "profile_weights",
            True,
            weights_title(frame),
            partial(draw_profile, blocks, keys, "weight_grad_norm", within),
        ),
    ]


def _factors(
    layers: pd.DataFrame, frame: pd.DataFrame, picked: list[str]
) -> list[tuple[str, dict[str, float]]]:
    """Return of each picked run its verdict and the decades a layer of each factor."""
    chosen = layers[layers["run"].isin(picked)]
    means: dict[Any, Any] = factors_by_run(chosen, []).set_index("run").to_dict("index")
    verdicts = frame.set_index("run")["verdict"]
    return [(_verdict(verdicts[run]), means[run]) for run in picked if run in means]


def _named(row: pd.Series, frame: pd.DataFrame, keys: list[str]) -> str:
    """Return what a picture of a single run is called: of how many it is one, and its seed."""
    verdict = _verdict(row["verdict"])
    alike = int((frame["verdict"].map(_verdict) == verdict).sum())
    one = f" (1 of {alike} runs)" if alike > 1 else ""
    seed = f", seed {row['seed']}" if frame["seed"].nunique() > 1 else ""
    return f"{verdict}{one}: {setting_label(row, keys)}{seed}"


def _networks(theory: pd.DataFrame) -> pd.DataFrame:
    return theory.drop_duplicates("run")


def _verdict(word: Any) -> str:
    return word if isinstance(word, str) else "no verdict"
