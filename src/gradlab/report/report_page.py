"""`gradlab report`: all runs of a folder as `report/index.html`, `figures/` and `tables/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gradlab import schema
from gradlab.errors import StoreError
from gradlab.pages.html import render
from gradlab.pages.numbers import cell, count
from gradlab.pages.page import Page, PageTable, Section
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
from gradlab.report.run_table import finding_table, reader_columns, run_table
from gradlab.report.swept_keys import format_value, levels, short_key
from gradlab.report.titles import extremes_title, headline, key_influence
from gradlab.results.resume import DONE

MODULES_NOTE = (
    "The modules in the order of their calls; 1 is nearest the input. delta: log10 of the error "
    "signal's norm over the last module's, the mean over steps and over the modules of a block. "
    "weakest: the least of them. weight_grad: log10 ‖dLoss/dW‖. The factors are decades (log10). "
    "As CSV: tables/modules.csv."
)
THEORY_NOTE = (
    "At step 0, log10 of ‖delta_1‖ / ‖delta_L‖: the mean over runs, the prediction of theory, its "
    "standard deviation over networks (decades), the difference, and the share of runs within one "
    "deviation. Layer by layer: tables/theory_by_layer.csv."
)
RUNS_NOTE = (
    "Click a heading to sort. decades: log10 of ‖delta_1‖ / ‖delta_L‖; final_loss: the last "
    "training loss; test_accuracy: on held-out samples."
)
NOTATION = (
    "Linear maps l = 1..L, 1 nearest the input; z = W h + b, u = norm(z) or z, a = phi(u), "
    "h = norm(a) or a; delta = dLoss/dz, with a loss that is the mean over the batch. A decade is "
    "a factor of ten."
)
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


def report_page(
    frame: pd.DataFrame,
    keys: list[str],
    drawn: Sequence[Drawn],
    tables: Mapping[str, pd.DataFrame],
    damaged: Sequence[str],
) -> Page:
    """Return the content of the report.

    Args:
        frame: a row per run, of `run_table`.
        keys: the keys that the sweep varied.
        drawn: the figures in order.
        tables: the tables `settings`, `theory` and, for watched networks, `modules`.
        damaged: a line for each run that could not be read.

    Returns:
        The page; its sections name the figures.
    """
    behind, summed = describe_seeds(frame, keys), tables["settings"]
    sections = [
        *_damaged_section(damaged),
        *_unfinished_section(frame),
        *_verdict_section(frame, keys),
    ]
    if len(summed) < len(frame):
        table = _frame_table(seed_table(summed, keys))
        sections.append(Section("Over seeds", [f"{seed_note(summed)}."], table))
    for figure in drawn:
        caption = f"{CAPTIONS[figure.name].format(behind=behind)} figures/{figure.name}.svg"
        sections.append(Section("", figure=figure.name, alt=figure.title, caption=caption))
    for name, heading, note in (
        ("modules", "Modules by depth", MODULES_NOTE),
        ("theory", "Theory and measurement", THEORY_NOTE),
    ):
        if name in tables and len(tables[name]):
            sections.append(Section(heading, [note], _frame_table(tables[name])))
    runs = replace(_frame_table(reader_columns(frame, keys)), sortable=True)
    words = PageTable(
        ["column", "formula", "meaning"],
        [[each.name, each.formula, each.meaning] for each in schema.STATISTICS],
    )
    sections += [Section("All runs", [RUNS_NOTE], runs), Section("Columns", [NOTATION], words)]
    return Page(headline(frame), sections, _introduction(frame, keys, behind))


def _introduction(frame: pd.DataFrame, keys: list[str], behind: str) -> list[str]:
    """Say what happens to the error signal, over depth and time, and which runs there are."""
    depth = extremes_title(decades_by_setting(frame, keys), keys)
    time = frame["time_decades"].replace([-np.inf, np.inf], np.nan)
    signal = f"{depth}. {describe_time_decades(time)}" if time.notna().any() else depth
    varied = "; ".join(
        f"{short_key(key)} = {', '.join(map(format_value, levels(frame[key])))}" for key in keys
    )
    runs = f"{count(len(frame), 'run')}{': ' if varied else ''}{varied}"
    return [f"{signal}.", f"{runs}; {behind} a setting." if len(frame) > 1 else f"{runs}."]


def _damaged_section(damaged: Sequence[str]) -> list[Section]:
    return [Section("Left out", items=damaged)] if damaged else []


def _unfinished_section(frame: pd.DataFrame) -> list[Section]:
    unfinished = frame[~frame["status"].isin(DONE)]
    lines: list[str] = []
    for _, run in unfinished.iterrows():
        state = "killed, or still running" if run["status"] == "running" else run["status"]
        cause = f": {run['cause']}" if run["status"] == "failed" and run["cause"] else ""
        lines.append(f"{run['run']}: {state}{cause}")
    return [Section("Not finished", items=lines)] if lines else []


def _verdict_section(frame: pd.DataFrame, keys: list[str]) -> list[Section]:
    """Return the verdicts as a grid: the first varied key across, settings of the others down.

    A cell counts the seeds of each verdict.
    """
    if not keys:
        return []
    across, *down = keys
    columns = levels(frame[across])
    headings = [*map(short_key, down), *(f"{short_key(across)} {format_value(c)}" for c in columns)]
    rows: list[list[str]] = []
    classes: list[list[str]] = []
    groups = frame.groupby(down, sort=False, dropna=False) if down else [((), frame)]
    for setting, group in groups:
        cells = [group.loc[group[across] == c, "verdict"].fillna("no verdict") for c in columns]
        rows.append([*map(format_value, setting), *(verdict_counts(c) for c in cells)])
        classes.append([*[""] * len(down), *(leading_verdict(c) if len(c) else "" for c in cells)])
    table = PageTable(headings, rows, cell_classes=classes)
    return [Section("Verdicts", table=table, items=key_influence(frame, keys))]


def _frame_table(frame: pd.DataFrame) -> PageTable:
    """Return a frame as a table; a cell that is a verdict gets the verdict's colour."""
    rows = [[cell(value) for value in row] for row in frame.itertuples(index=False)]
    classes = [[word if word in schema.VERDICTS else "" for word in row] for row in rows]
    return PageTable([short_key(str(column)) for column in frame], rows, cell_classes=classes)


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
        page = report_page(frame, keys, drawn, tables, reduced.damaged)
        path.write_text(render(page, root / "figures"), encoding="utf-8")
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
