"""`gradlab report`: all runs of a folder as `report/index.html`, `figures/` and `tables/`."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from gradlab import schema
from gradlab.errors import StoreError
from gradlab.report.by_setting import (
    decades_by_setting,
    describe_seeds,
    leading_verdict,
    seed_note,
    seed_table,
    summarise_seeds,
    verdict_counts,
)
from gradlab.report.factor_figures import factors_by_setting
from gradlab.report.layer_profile import describe_time_decades
from gradlab.report.module_table import module_table
from gradlab.report.prediction import distinct_networks, join_theory, model_keys, theory_residuals
from gradlab.report.reduce import Reduced, reduce_folder
from gradlab.report.report_figures import Drawn, draw_figures
from gradlab.report.run_table import finding_table, format_cell, reader_columns, run_table
from gradlab.report.swept_keys import format_value, levels, short_key
from gradlab.report.titles import extremes_title, headline, key_influence

CAPTIONS = {
    "decades": "log10 of ‖delta_1‖ / ‖delta_L‖: what the error signal gains (+) or loses (-) on "
    "its way from the last layer to the first. Median over recorded steps, mean over the runs that "
    "count, of {behind} a setting: (1/2) means one of two, n/a none; blank was not run.",
    "profile": "The norm of the error signal over the batch, at each layer. Geometric mean over "
    "the recorded steps; the line is that of {behind}, the band their range (of a watched "
    "network with many modules, that of each block). Each row of panels has its own scale. In the "
    "strips: settings in which a run has no logarithm in most steps.",
    "through_time": "The norm of dLoss/dh_t (of a gated cell dLoss/dc_t) over the batch, at "
    "each step of a sequence, in the recurrent layer that is nearest the loss. Mean, band and "
    "strips as above.",
    "theory": "The error signal at initialisation, before any training: marks are networks (runs "
    "that differ in clipping or optimiser alone begin as one), lines what mean-field theory "
    "predicts from the configuration alone, bands one standard deviation over networks (for one "
    "sample; a batch averages some of it out). What is too narrow for the theory, or outside it, "
    "is not drawn.",
    "factors": "Each point is a setting, the mean of {behind}. On the dashed line the weights give "
    "back what the activations take, and the signal keeps its size; off it, each layer adds or "
    "takes as much.",
    "factors_by_layer": "Single runs: the worst of each verdict, and a healthy one, on one scale. "
    "At each layer, the decades that the activation's derivative and the transposed weights add.",
    "losses": "Thin: runs. Thick: the median of the runs of a verdict, whatever their settings "
    "({behind} each). Each panel has its own scale. A healthy gradient is no promise that the loss "
    "falls: that takes steps and a rate.",
    "timeline": "log10 ‖dLoss/dz‖ by layer and step, of single runs: the worst of each verdict, "
    "and a healthy one; each panel has its own scale. A record holds until the next, the last to "
    "the end.",
    "profile_weights": "The weights' gradient is the error signal times the layer's input: it can "
    "be flat where the error signal falls, when the forward signal falls the other way. Mean, band "
    "and strips as above.",
}


def render_report(
    frame: pd.DataFrame,
    keys: list[str],
    drawn: Sequence[Drawn],
    summed: pd.DataFrame,
    left: pd.DataFrame,
    watched: pd.DataFrame,
    damaged: Sequence[str],
    root: Path,
) -> str:
    """Return the page's HTML, figures included.

    `summed` are the settings over their seeds, `left` is what theory leaves.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradlab", "report"), autoescape=True, trim_blocks=True
    )
    runs, behind = reader_columns(frame, keys), describe_seeds(frame, keys)
    settings = seed_table(summed, keys) if len(summed) < len(frame) else frame.iloc[:0, :0]
    return environment.get_template("page.html.j2").render(
        headline=headline(frame),
        extremes=_extremes(frame, keys),
        influence=key_influence(frame, keys),
        verdicts=verdict_map(frame, keys),
        varied=[(short_key(key), [format_value(v) for v in levels(frame[key])]) for key in keys],
        behind=behind,
        settings=[short_key(str(column)) for column in settings],
        sums=[[format_cell(value) for value in row] for row in settings.itertuples(index=False)],
        note=seed_note(summed),
        unfinished=frame[frame["status"].isin(["running", "failed", "interrupted"])],
        figures=[
            {
                "name": figure.name,
                "title": figure.title,
                "caption": CAPTIONS[figure.name].format(behind=behind),
                "png": base64.b64encode(
                    (root / "figures" / f"{figure.name}.png").read_bytes()
                ).decode(),
            }
            for figure in drawn
        ],
        columns=[short_key(str(column)) for column in runs],
        rows=[[format_cell(value) for value in row] for row in runs.itertuples(index=False)],
        residuals=[short_key(str(column)) for column in left],
        left=[[format_cell(value) for value in row] for row in left.itertuples(index=False)],
        modules=watched.columns.tolist(),
        depths=[[format_cell(value) for value in row] for row in watched.itertuples(index=False)],
        damaged=damaged,
        quantities=schema.STATISTICS,
    )


def _extremes(frame: pd.DataFrame, keys: list[str]) -> str:
    """Say what becomes of the error signal over depth, and over time if there is any."""
    depth = extremes_title(decades_by_setting(frame, keys), keys)
    time = frame["time_decades"].replace([-np.inf, np.inf], np.nan)
    return f"{depth}. {describe_time_decades(time)}" if time.notna().any() else depth


def verdict_map(frame: pd.DataFrame, keys: list[str]) -> dict[str, Any] | None:
    """Return the verdicts as a grid: the first varied key across, settings of the others down.

    A cell says how many seeds have which verdict.
    """
    if not keys:
        return None
    across, *down = keys
    columns = levels(frame[across])
    rows: list[dict[str, Any]] = []
    groups = frame.groupby(down, sort=False, dropna=False) if down else [((), frame)]
    for setting, group in groups:
        cells = [_cell(group[group[across] == column]) for column in columns]
        rows.append({"setting": [format_value(s) for s in setting], "cells": cells})
    return {
        "across": short_key(across),
        "columns": [format_value(c) for c in columns],
        "down": [short_key(k) for k in down],
        "rows": rows,
    }


def _cell(runs: pd.DataFrame) -> dict[str, str]:
    verdicts = runs["verdict"].fillna("no verdict")
    if verdicts.empty:
        return {"text": "", "kind": "none"}
    kind = leading_verdict(verdicts)
    return {"text": verdict_counts(verdicts), "kind": kind.replace(" ", "-")}


@dataclass(frozen=True)
class Report:
    """What was written: the page, how many runs it covers, and what was left out of it."""

    path: Path
    runs: int
    damaged: list[str]


def write_report(folder: str | Path) -> Report:
    """Read every run under `folder` and write `folder/report`.

    Raises:
        StoreError: no run can be read, or the report cannot be written.
    """
    runs, reduced = reduce_folder(folder)
    frame, keys = run_table(runs, reduced)
    root = Path(folder) / "report"
    try:
        for part in ("figures", "tables"):
            (root / part).mkdir(parents=True, exist_ok=True)
        theory = join_theory(runs, reduced).merge(frame[["run", *keys, "seed"]], on="run")
        tables = _tables(frame, keys, reduced, theory) | {"causes": finding_table(runs)}
        watched = module_table(runs, reduced.layers)
        tables |= {} if watched.empty else {"modules": watched}
        for name, content in tables.items():
            content.to_csv(root / "tables" / f"{name}.csv", index=False)
        networks = distinct_networks(theory, keys)
        drawn = draw_figures(
            runs, frame, keys, reduced, networks, tables["theory"], root / "figures"
        )
        path = root / "index.html"
        html = render_report(
            frame, keys, drawn, tables["settings"], tables["theory"], watched, reduced.damaged, root
        )
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{root} cannot be written: {error.strerror or error}") from error
    return Report(path, len(frame), reduced.damaged)


def _tables(
    frame: pd.DataFrame, keys: list[str], reduced: Reduced, theory: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    named = reduced.layers.merge(frame[["run", *keys, "seed"]], on="run")
    return {
        "runs": reader_columns(frame, keys),
        "settings": summarise_seeds(frame, keys),
        "profiles": named,
        "decades": decades_by_setting(frame, keys),
        "factors": factors_by_setting(named, keys),
        "theory": theory_residuals(distinct_networks(theory, keys), model_keys(keys)),
        "theory_by_layer": theory,
    }
