"""The page: one file that opens from disk, without a network."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from gradlab import schema
from gradlab.report import over_seeds, sentences, titles
from gradlab.report.cells import by_setting
from gradlab.report.settings import levels, short, word
from gradlab.report.show import text
from gradlab.report.table import shown

CAPTIONS = {
    "decades": "log10 of ‖delta_1‖ / ‖delta_L‖: what the error signal gains (+) or loses (-) on "
    "its way from the last layer to the first. Median over recorded steps, mean over the runs that "
    "count, of {behind} a setting: (1/2) means one of two, n/a none; blank was not run.",
    "profile": "The norm of the error signal over the batch, at each layer. Geometric mean over "
    "the recorded steps; the line is that of {behind}, the band their range (of a watched "
    "network with many modules, that of each block). Each row of panels has its own scale. In the "
    "strips: settings in which a run has no logarithm in most steps.",
    "through_time": "The norm of dLoss/dh_t over the batch, at each step of a sequence, in the "
    "recurrent layer that is nearest the loss. Mean, band and strips as above.",
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


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: its file's name and the finding that is its title."""

    name: str
    title: str


def render(
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
    runs, behind = shown(frame, keys), over_seeds.behind(frame, keys)
    settings = over_seeds.told(summed, keys) if len(summed) < len(frame) else frame.iloc[:0, :0]
    return environment.get_template("page.html.j2").render(
        headline=sentences.headline(frame),
        extremes=titles.extremes(by_setting(frame, keys), keys),
        influence=sentences.influence(frame, keys),
        verdicts=verdict_map(frame, keys),
        varied=[(short(key), [word(v) for v in levels(frame[key])]) for key in keys],
        behind=behind,
        settings=[short(str(column)) for column in settings],
        sums=[[text(value) for value in row] for row in settings.itertuples(index=False)],
        note=over_seeds.note(summed),
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
        columns=[short(str(column)) for column in runs],
        rows=[[text(value) for value in row] for row in runs.itertuples(index=False)],
        residuals=[short(str(column)) for column in left],
        left=[[text(value) for value in row] for row in left.itertuples(index=False)],
        modules=watched.columns.tolist(),
        depths=[[text(value) for value in row] for row in watched.itertuples(index=False)],
        damaged=damaged,
        quantities=schema.STATISTICS,
    )


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
        rows.append({"setting": [word(s) for s in setting], "cells": cells})
    return {
        "across": short(across),
        "columns": [word(c) for c in columns],
        "down": [short(k) for k in down],
        "rows": rows,
    }


def _cell(runs: pd.DataFrame) -> dict[str, str]:
    verdicts = runs["verdict"].fillna("no verdict")
    if verdicts.empty:
        return {"text": "", "kind": "none"}
    kind = over_seeds.leading(verdicts)
    return {"text": over_seeds.counts(verdicts), "kind": kind.replace(" ", "-")}
