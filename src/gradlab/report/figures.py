"""Every figure of a report: what is drawn, from which table, under which finding."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gradlab.pages.style import printed, save
from gradlab.report import (
    cells,
    factors,
    factors_by_layer,
    heatmap,
    losses,
    modules,
    over_seeds,
    prediction,
    profile,
    sentences,
    through_time,
    timeline,
    titles,
)
from gradlab.report.page import Drawn
from gradlab.report.reduce import Reduced, heard
from gradlab.report.settings import label
from gradlab.results.load import Run

Drawing = tuple[str, bool, str, Callable[[str], Any]]


def draw(
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
            with printed():
                save(drawing(title), folder, name)
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
    chains = layers[~layers["run"].isin(modules.broken(runs, reduced.layers))]
    by_setting = factors.per_layer(chains, keys)
    decades = cells.by_setting(frame, keys)
    names = {row["run"]: _named(row, frame, keys) for _, row in frame.iterrows()}
    behind = over_seeds.behind(frame, keys)
    blocks = modules.by_block(runs, layers)
    many = bool((blocks["position"] != layers["position"]).any())
    within = f"a block's modules in {behind}" if many else behind
    networks = over_seeds.behind(_networks(theory), prediction.of_model(keys))
    by_name = {run.name: run for run in runs}
    recorded = frame[frame["run"].isin(layers["run"])]
    picked = timeline.pick(recorded)
    linked = [run for run in picked if run in set(chains["run"])]
    few = [(names[run], chains[chains["run"] == run]) for run in linked]
    record = ["step", "axis", "position", "delta_norm"]
    taken = frame.set_index("run")["steps"]
    single = [
        (names[run], heard(by_name[run], by_name[run].layers(record)), int(taken[run]))
        for run in picked
    ]
    deep = bool(frame["decades"].notna().any())
    ruling = next((k for k in ("model.activation", *keys) if k in keys), None)
    return [
        (
            "decades",
            deep and bool(keys),
            titles.extremes(decades, keys),
            partial(heatmap.draw, cells.pivot(frame, keys), behind),
        ),
        (
            "profile",
            True,
            titles.reach(frame, keys),
            partial(profile.draw, blocks, keys, "delta_norm", within),
        ),
        (
            "through_time",
            len(time) > 0,
            through_time.title(time),
            partial(through_time.draw, time, keys, behind),
        ),
        (
            "theory",
            len(left) > 0,
            prediction.title(left) if len(left) else "",
            partial(prediction.draw, theory, keys, networks),
        ),
        (
            "factors",
            deep and len(chains) > 0,
            titles.per_layer(by_setting, ruling),
            partial(factors.plane, by_setting, keys, behind),
        ),
        (
            "factors_by_layer",
            deep and len(few) > 0,
            titles.by_factor(_factors(chains, frame, linked)),
            partial(factors_by_layer.draw, few),
        ),
        (
            "losses",
            True,
            sentences.learning(frame),
            partial(losses.draw, reduced.losses, frame, keys),
        ),
        ("timeline", True, sentences.onset(frame), partial(timeline.draw, single)),
        (
            "profile_weights",
            True,
            titles.weights(frame),
            partial(profile.draw, blocks, keys, "weight_grad_norm", within),
        ),
    ]


def _factors(
    layers: pd.DataFrame, frame: pd.DataFrame, picked: list[str]
) -> list[tuple[str, dict[str, float]]]:
    """Return of each picked run its verdict and the decades a layer of each factor."""
    chosen = layers[layers["run"].isin(picked)]
    means: dict[Any, Any] = factors.per_run(chosen, []).set_index("run").to_dict("index")
    verdicts = frame.set_index("run")["verdict"]
    return [(_verdict(verdicts[run]), means[run]) for run in picked if run in means]


def _named(row: pd.Series, frame: pd.DataFrame, keys: list[str]) -> str:
    """Return what a picture of a single run is called: of how many it is one, and its seed."""
    verdict = _verdict(row["verdict"])
    alike = int((frame["verdict"].map(_verdict) == verdict).sum())
    one = f" (1 of {alike} runs)" if alike > 1 else ""
    seed = f", seed {row['seed']}" if frame["seed"].nunique() > 1 else ""
    return f"{verdict}{one}: {label(row, keys)}{seed}"


def _networks(theory: pd.DataFrame) -> pd.DataFrame:
    return theory.drop_duplicates("run")


def _verdict(word: Any) -> str:
    return word if isinstance(word, str) else "no verdict"
