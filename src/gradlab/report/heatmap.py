"""Draw a heatmap of the decades that the error signal gains or loses, by setting."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from gradlab.pages.style import WIDTH, make_axes, set_title
from gradlab.report.by_setting import Cells
from gradlab.report.swept_keys import format_value, short_key

MOST_ROWS, MOST_COLUMNS = 40, 24
SCALE = 12.0  # decades with the darkest colour
HATCHES = {
    "0": ("////", "exactly 0 at the first layer"),
    "inf": ("xxxx", "infinite at the first layer"),
    "n/a": ("....", "no ratio (not finite, 0/0, or a single layer)"),
}
"""Hatching and meaning of the cells without a finite number, by the text of the cell."""


def draw_heatmap(cells: Cells, seeds: str, title: str) -> Figure:
    """Draw a cell for each setting: blue if the error signal loses decades, red if it gains.

    Each cell contains its number, so that the figure is readable in grey. "(1/2)" after a number
    means that only one of two runs has a ratio. A setting that was not run is blank.

    Args:
        cells: the cells, of `pivot_decades`.
        seeds: number of runs per cell as text, such as "5 seeds".
        title: the title of the figure.

    Returns:
        The figure.
    """
    decades, runs, of = (table.iloc[:MOST_ROWS, :MOST_COLUMNS] for table in cells)
    values = decades.to_numpy(dtype=float)
    figure, axes = make_axes(1, 1, 1.7 + 0.21 * len(decades))
    ax = axes[0, 0]
    shown = np.where(np.isfinite(values), values, np.sign(values) * SCALE)
    colours = {"cmap": "RdBu_r", "vmin": -SCALE, "vmax": SCALE, "edgecolors": "white", "lw": 0.6}
    mesh = ax.pcolormesh(np.ma.masked_invalid(shown), **colours)
    ax.invert_yaxis()
    texts = np.vectorize(_cell_text, otypes=[object])(values, runs, of)
    widest = max(3.6, 0.62 * max(map(len, texts.ravel())))
    size = min(7.0, 0.75 * 72 * WIDTH / (max(values.shape[1], 1) * widest))
    for (i, j), text in np.ndenumerate(texts):
        _draw_cell(ax, (i, j), text, float(values[i, j]), size)
    _label_axes(ax, decades)
    # A horizontal colour bar has space for its label even if there is one row.
    bar = figure.colorbar(mesh, ax=ax, location="bottom", extend="both", shrink=0.5, aspect=40)
    bar.set_label(f"decades gained (+) or lost (-) from last layer to first: mean over {seeds}")
    part = " (part of tables/decades.csv)" if values.shape != cells[0].shape else ""
    set_title(figure, title + part)
    _add_hatch_legend(figure, {text.split(" ")[0] for text in texts.ravel()})
    return figure


def _label_axes(ax: Any, table: pd.DataFrame) -> None:
    columns, rows = (
        [_level_label(each) for each in index] for index in (table.columns, table.index)
    )
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns)
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    if max(map(len, columns)) * len(columns) > 90:
        ax.tick_params(axis="x", labelrotation=90)
    ax.tick_params(length=0)
    ax.set_xlabel(", ".join(short_key(str(name)) for name in table.columns.names))
    ax.set_ylabel(", ".join(short_key(str(name)) for name in table.index.names))


def _cell_text(value: float, runs: int, of: int) -> str:
    """Return the text of a cell: `-6.0`, `-6.0 (1/2)`, `0`, `inf`, `n/a`; "" if not run.

    Args:
        value: decades.
        runs: number of runs that the value stands for.
        of: number of runs of the setting.

    Returns:
        The text.
    """
    if not of:
        return ""
    if np.isnan(value):
        return "n/a"
    kind = f"{round(value, 1) + 0.0:+.1f}" if np.isfinite(value) else "0" if value < 0 else "inf"
    return kind if runs == of else f"{kind} ({runs}/{of})"


def _draw_cell(ax: Any, position: tuple[int, int], text: str, value: float, size: float) -> None:
    """Write the text of a cell, on hatching if its value is not finite.

    Args:
        ax: the axes.
        position: row and column of the cell.
        text: its text.
        value: its decades.
        size: size of the font in points.
    """
    i, j = position
    kind = text.split(" ")[0]
    colour = "white" if np.isfinite(value) and abs(value) > 0.62 * SCALE else "black"
    box = None
    if kind in HATCHES:
        box = {"facecolor": "white", "pad": 0.6, "lw": 0}
        fill: Any = {"facecolor": "0.9", "hatch": HATCHES[kind][0], "edgecolor": "0.6", "gid": kind}
        ax.add_patch(Rectangle((j, i), 1, 1, **fill))
    centre = {"ha": "center", "va": "center", "fontsize": size, "color": colour, "bbox": box}
    ax.text(j + 0.5, i + 0.5, text, **centre)


def _add_hatch_legend(figure: Figure, kinds: set[str]) -> None:
    handles = [
        Patch(facecolor="0.9", hatch=hatch, edgecolor="0.6", label=f"{kind}: {meaning}")
        for kind, (hatch, meaning) in HATCHES.items()
        if kind in kinds
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def _level_label(level: Any) -> str:
    return ", ".join(map(format_value, level)) if isinstance(level, tuple) else format_value(level)
