"""The heatmap of the decades that the error signal gains or loses, over all that was varied."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from gradlab.pages.style import WIDTH, make_axes, set_title
from gradlab.report.by_setting import Cells
from gradlab.report.swept_keys import format_value, short_key

MOST_ROWS, MOST_COLUMNS = 40, 24
SCALE = 12.0  # decades at which the colour is full
HATCHES = {
    "0": ("////", "exactly 0 at the first layer"),
    "inf": ("xxxx", "infinite at the first layer"),
    "n/a": ("....", "no ratio (not finite, 0/0, or a single layer)"),
}


def draw_heatmap(cells: Cells, behind: str, title: str) -> Figure:
    """Draw the cells: blue loses, red gains; each has its number, so that grey is enough.

    A number that stands for one run of two says so: (1/2). What was not run is blank.

    Args:
        cells: what is drawn.
        behind: how many runs a cell is the mean of, in words.
        title: of the figure.
    """
    decades, runs, of = (table.iloc[:MOST_ROWS, :MOST_COLUMNS] for table in cells)
    values = decades.to_numpy(dtype=float)
    figure, axes = make_axes(1, 1, 1.7 + 0.21 * len(decades))
    ax = axes[0, 0]
    shown = np.where(np.isfinite(values), values, np.sign(values) * SCALE)
    look = {"cmap": "RdBu_r", "vmin": -SCALE, "vmax": SCALE, "edgecolors": "white", "lw": 0.6}
    mesh = ax.pcolormesh(np.ma.masked_invalid(shown), **look)
    ax.invert_yaxis()
    texts = np.vectorize(_text, otypes=[object])(values, runs, of)
    widest = max(3.6, 0.62 * max(map(len, texts.ravel())))
    size = min(7.0, 0.75 * 72 * WIDTH / (max(values.shape[1], 1) * widest))
    for (i, j), text in np.ndenumerate(texts):
        _cell(ax, i, j, text, float(values[i, j]), size)
    _name_axes(ax, decades)
    # Below and lying, so that its label has room however few the rows.
    bar = figure.colorbar(mesh, ax=ax, location="bottom", extend="both", shrink=0.5, aspect=40)
    bar.set_label(f"decades gained (+) or lost (-) from last layer to first: mean of {behind}")
    beyond = " (cut to fit; whole in tables/decades.csv)" if values.shape != cells[0].shape else ""
    set_title(figure, title + beyond)
    _explain(figure, {text.split(" ")[0] for text in texts.ravel()})
    return figure


def _name_axes(ax: Any, table: pd.DataFrame) -> None:
    columns, rows = ([_name(each) for each in index] for index in (table.columns, table.index))
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns)
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    if max(map(len, columns)) * len(columns) > 90:
        ax.tick_params(axis="x", labelrotation=90)
    ax.tick_params(length=0)
    ax.set_xlabel(", ".join(short_key(str(name)) for name in table.columns.names))
    ax.set_ylabel(", ".join(short_key(str(name)) for name in table.index.names))


def _text(value: float, runs: int, of: int) -> str:
    """Return what a cell says; nothing where nothing was run."""
    if not of:
        return ""
    if np.isnan(value):
        return "n/a"
    kind = f"{round(value, 1) + 0.0:+.1f}" if np.isfinite(value) else "0" if value < 0 else "inf"
    return kind if runs == of else f"{kind} ({runs}/{of})"


def _cell(ax: Any, i: int, j: int, text: str, value: float, size: float) -> None:
    kind = text.split(" ")[0]
    colour = "white" if np.isfinite(value) and abs(value) > 0.62 * SCALE else "black"
    box = None
    if kind in HATCHES:
        box = {"facecolor": "white", "pad": 0.6, "lw": 0}
        look: Any = {"facecolor": "0.9", "hatch": HATCHES[kind][0], "edgecolor": "0.6", "gid": kind}
        ax.add_patch(Rectangle((j, i), 1, 1, **look))
    centre = {"ha": "center", "va": "center", "fontsize": size, "color": colour, "bbox": box}
    ax.text(j + 0.5, i + 0.5, text, **centre)


def _explain(figure: Figure, kinds: set[str]) -> None:
    handles = [
        Patch(facecolor="0.9", hatch=hatch, edgecolor="0.6", label=f"{kind}: {meaning}")
        for kind, (hatch, meaning) in HATCHES.items()
        if kind in kinds
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def _name(level: Any) -> str:
    return ", ".join(map(format_value, level)) if isinstance(level, tuple) else format_value(level)
