"""Write the report of a folder of runs: `report/index.html`, `figures/` and `tables/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gradlab import schema
from gradlab.errors import printable
from gradlab.pages.html import render
from gradlab.pages.numbers import cell, count
from gradlab.pages.output_folder import check_replaceable, new_folder
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
from gradlab.report.report_figures import SavedFigure, draw_figures
from gradlab.report.run_table import finding_table, reader_columns, run_table
from gradlab.report.swept_keys import format_value, levels, short_key
from gradlab.report.titles import extremes_title, headline, key_influence
from gradlab.results.resume import DONE

MODULES_NOTE = (
    "Modules in the order of their calls; 1 is nearest the input. delta: log10 of the error "
    "signal's norm relative to the last module, mean over steps and over the modules of a block. "
    "weakest: the minimum over the block. weight_grad: log10 ‖dLoss/dW‖. act_factor and "
    "weight_factor are in decades (log10). Also in tables/modules.csv."
)
THEORY_NOTE = (
    "log10 of ‖delta_1‖ / ‖delta_L‖ at step 0. measured: mean over runs. theory: predicted mean. "
    "theory_sd: predicted standard deviation over networks. left: measured minus theory. inside: "
    "share of runs within one standard deviation of the prediction. For each layer: "
    "tables/theory_by_layer.csv."
)
RUNS_NOTE = (
    "Click a heading to sort by it. decades: log10 of ‖delta_1‖ / ‖delta_L‖. final_loss: the last "
    "training loss. test_accuracy: accuracy on held-out samples."
)
NOTATION = (
    "Linear maps l = 1..L, 1 nearest the input. z = W h + b, u = norm(z) or z, a = phi(u), "
    "h = norm(a) or a. delta = dLoss/dz; the loss is the mean over the batch. A decade is a factor "
    "of 10."
)
CAPTIONS = {
    "decades": "log10 of ‖delta_1‖ / ‖delta_L‖: the decades that the error signal gains (+) or "
    "loses (-) from last layer to first. A decade is a factor of 10. Each cell is the median over "
    "recorded steps and the mean over {seeds}. (1/2) means that one of two runs has a ratio, n/a "
    "that none has. Blank settings were not run.",
    "profile": "The norm of the error signal at each layer, over the batch. The line is the "
    "geometric mean over recorded steps and {seeds}; the band is the range over runs. For a "
    "watched network with many modules, the band is the range within each block. The scale differs "
    "between rows of panels. The strips at the edges mark settings in which a run's signal is "
    "exactly 0, or not finite, in at least half of its steps.",
    "through_time": "The norm of dLoss/dh_t at each step of a sequence, over the batch, in the "
    "recurrent layer nearest the loss. For a layer with a gated cell it is dLoss/dc_t. Line, band "
    "and strips as above.",
    "theory": "The error signal at initialisation, before training. Marks are networks: runs that "
    "differ only in clipping or optimiser start as the same network and count once. Lines are the "
    "prediction of mean-field theory from the configuration. Bands are one standard deviation over "
    "networks for one sample; a batch averages part of it out. Networks that are too narrow for "
    "the theory, or that it does not cover, are not drawn.",
    "factors": "Each point is a setting, the mean over {seeds}. On the dashed line the weights "
    "compensate for the activations, and the error signal keeps its size. Above the line it grows "
    "towards the input, below the line it vanishes.",
    "factors_by_layer": "The decades that the activation's derivative and the transposed weights "
    "add at each layer. Each panel is one run: the worst run of each verdict, and a healthy run. "
    "All panels have the same scale.",
    "losses": "Thin lines are runs. The thick line is the median over all runs of a verdict "
    "({seeds} per setting). The scale differs between panels. A healthy gradient does not "
    "guarantee that the loss falls: learning also needs enough steps and a suitable learning rate.",
    "timeline": "log10 ‖dLoss/dz‖ by layer and step, for single runs: the worst run of each "
    "verdict, and a healthy run. The scale differs between panels. Between two recorded steps, the "
    "value of the earlier one is drawn.",
    "profile_weights": "The weight gradient is the product of the error signal and the layer's "
    "input. It can have a similar size in all layers although the error signal falls towards the "
    "first layer, if the forward signal falls towards the last. Line, band and strips as in the "
    "figure of the error signal.",
}


def report_page(
    frame: pd.DataFrame,
    keys: list[str],
    drawn: Sequence[SavedFigure],
    tables: Mapping[str, pd.DataFrame],
    damaged: Sequence[str],
) -> Page:
    """Build the content of the report.

    Args:
        frame: a row per run, of `run_table`.
        keys: the keys that the sweep varied.
        drawn: the figures in the order of the page.
        tables: the tables "settings", "theory" and, for watched networks, "modules".
        damaged: a line for each run that could not be read.

    Returns:
        The page. Its sections refer to the figures by name.
    """
    seeds, by_setting = describe_seeds(frame, keys), tables["settings"]
    sections = [
        *_damaged_section(damaged),
        *_unfinished_section(frame),
        *_verdict_section(frame, keys),
    ]
    if len(by_setting) < len(frame):
        table = _frame_table(seed_table(by_setting, keys))
        sections.append(Section("Medians over seeds", [f"{seed_note(by_setting)}."], table))
    for figure in drawn:
        caption = f"{CAPTIONS[figure.name].format(seeds=seeds)} figures/{figure.name}.svg"
        sections.append(Section("", figure=figure.name, alt=figure.title, caption=caption))
    for name, heading, note in (
        ("modules", "Modules by depth", MODULES_NOTE),
        ("theory", "Theory and measurement", THEORY_NOTE),
    ):
        if name in tables and len(tables[name]):
            sections.append(Section(heading, [note], _frame_table(tables[name])))
    runs = replace(_frame_table(reader_columns(frame, keys)), sortable=True)
    columns = PageTable(
        ["column", "formula", "meaning"],
        [[each.name, each.formula, each.meaning] for each in schema.STATISTICS],
    )
    sections += [Section("All runs", [RUNS_NOTE], runs), Section("Columns", [NOTATION], columns)]
    return Page(headline(frame), sections, _introduction(frame, keys, seeds))


def _introduction(frame: pd.DataFrame, keys: list[str], seeds: str) -> list[str]:
    """State how the error signal changes over depth and time, and which runs there are.

    Args:
        frame: a row per run, of `run_table`.
        keys: the keys that the sweep varied.
        seeds: number of seeds per setting, such as "3 seeds".

    Returns:
        Two paragraphs.
    """
    depth = extremes_title(decades_by_setting(frame, keys), keys)
    time = frame["time_decades"].replace([-np.inf, np.inf], np.nan)
    signal = f"{depth}. {describe_time_decades(time)}" if time.notna().any() else depth
    varied = "; ".join(
        f"{short_key(key)} = {', '.join(map(format_value, levels(frame[key])))}" for key in keys
    )
    runs = f"{count(len(frame), 'run')}{': ' if varied else ''}{varied}"
    return [f"{signal}.", f"{runs}. {seeds} per setting." if len(frame) > 1 else f"{runs}."]


def _damaged_section(damaged: Sequence[str]) -> list[Section]:
    items = [printable(line) for line in damaged]
    return [Section("Runs that could not be read", items=items)] if items else []


def _unfinished_section(frame: pd.DataFrame) -> list[Section]:
    unfinished = frame[~frame["status"].isin(DONE)]
    lines: list[str] = []
    for _, run in unfinished.iterrows():
        state = "still running, or killed" if run["status"] == "running" else run["status"]
        cause = f": {run['cause']}" if run["status"] == "failed" and run["cause"] else ""
        lines.append(f"{run['run']}: {state}{cause}")
    return [Section("Unfinished runs", items=lines)] if lines else []


def _verdict_section(frame: pd.DataFrame, keys: list[str]) -> list[Section]:
    """Return a table of verdict counts: a column for each level of the first swept key."""
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
    """Convert a frame to a table. The CSS class of a verdict gives its cell a colour."""
    rows = [[cell(value) for value in row] for row in frame.itertuples(index=False)]
    classes = [[text if text in schema.VERDICTS else "" for text in row] for row in rows]
    return PageTable([short_key(str(column)) for column in frame], rows, cell_classes=classes)


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        path: path of `index.html`.
        runs: number of runs in the report.
        damaged: a line for each run that could not be read.
    """

    path: Path
    runs: int
    damaged: list[str]


def write_report(folder: str | Path) -> Report:
    """Write the report of all runs in a folder to `folder/report`.

    Args:
        folder: the folder; its runs can be in subfolders.

    Returns:
        The report.

    Raises:
        StoreError: no run can be read, or the report cannot be written.
    """
    root = Path(folder) / "report"
    check_replaceable(root)
    runs, reduced = reduce_folder(folder)
    frame, keys = run_table(runs, reduced)
    theory = join_theory(runs, reduced).merge(frame[["run", *keys, "seed"]], on="run")
    tables = _tables(frame, keys, reduced, theory) | {"causes": finding_table(runs)}
    watched = module_table(runs, reduced.layers)
    tables |= {} if watched.empty else {"modules": watched}
    networks = distinct_networks(theory, keys)
    with new_folder(root) as new:
        for part in ("figures", "tables"):
            (new / part).mkdir()
        for name, content in tables.items():
            content.to_csv(new / "tables" / f"{name}.csv", index=False)
        drawn = draw_figures(
            runs, frame, keys, reduced, networks, tables["theory"], new / "figures"
        )
        page = report_page(frame, keys, drawn, tables, reduced.damaged)
        (new / "index.html").write_text(render(page, new / "figures"), encoding="utf-8")
    return Report(root / "index.html", len(frame), reduced.damaged)


def _tables(
    frame: pd.DataFrame, keys: list[str], reduced: Reduced, theory: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Build the tables of every report.

    Args:
        frame: a row per run, of `run_table`.
        keys: the keys that the sweep varied.
        reduced: the summaries of the runs.
        theory: a row per run and layer, of `join_theory`.

    Returns:
        The tables by the name of their CSV file.
    """
    layers = reduced.layers.merge(frame[["run", *keys, "seed"]], on="run")
    return {
        "runs": reader_columns(frame, keys),
        "settings": summarise_seeds(frame, keys),
        "profiles": layers,
        "decades": decades_by_setting(frame, keys),
        "factors": factors_by_setting(layers, keys),
        "theory": theory_residuals(distinct_networks(theory, keys), model_keys(keys)),
        "theory_by_layer": theory,
    }
