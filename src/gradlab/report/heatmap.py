"""The heatmap of the decades that the error signal gains or loses, over all that was varied."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from gradlab.report.settings import levels, short
from gradlab.report.style import WIDTH, grid, head

MOST_ROWS, MOST_COLUMNS = 40, 24
SCALE = 12.0  # decades at which the colour is full


def pivot(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the mean decades over seeds: first and fourth key across, the others down.

    A cell is -inf if most of its seeds have an exact zero at the first layer, +inf if infinities,
    NaN if nothing is defined.
    """
    across = [key for i, key in enumerate(keys) if i in (0, 3)]
    down = [key for key in keys if key not in across]
    frame = runs[[*keys, "decades"]].copy()
    for key in keys:
        order = levels(frame[key].where(frame[key].notna(), "unset"))
        frame[key] = pd.Categorical(frame[key].where(frame[key].notna(), "unset"), order)
    if not across:
        frame["all"] = "all runs"
        across = ["all"]
    if not down:
        frame["error signal"] = ""
        down = ["error signal"]
    return frame.pivot_table(
        index=down, columns=across, values="decades", aggfunc=typical, observed=True, dropna=False
    )


def by_setting(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row per setting: the same mean decades, and over how many runs."""
    if not keys:
        return pd.DataFrame({"decades": [typical(runs["decades"])], "runs": [len(runs)]})
    grouped = runs.groupby(keys, sort=False, dropna=False)["decades"]
    return grouped.agg(decades=typical, runs="size").reset_index()


def typical(decades: pd.Series) -> float:
    """Return the mean of the finite values, unless most are -inf or +inf."""
    values = decades.dropna().to_numpy()
    if not len(values):
        return float("nan")
    for edge in (-np.inf, np.inf):
        if (values == edge).mean() >= 0.5:
            return float(edge)
    return float(values[np.isfinite(values)].mean())


def draw(table: pd.DataFrame, title: str) -> Figure:
    """Draw the table: blue loses, red gains; each cell has its number, so that grey is enough."""
    cut = table.iloc[:MOST_ROWS, :MOST_COLUMNS]
    values = cut.to_numpy(dtype=float)
    height = 1.6 + 0.21 * len(cut)
    figure, axes = grid(1, 1, height)
    ax = axes[0, 0]
    shown = np.where(np.isfinite(values), values, np.sign(values) * SCALE)
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(shown),
        cmap="RdBu_r",
        vmin=-SCALE,
        vmax=SCALE,
        edgecolors="white",
        lw=0.6,
    )
    ax.invert_yaxis()
    size = min(7.0, 0.75 * 72 * WIDTH / (max(cut.shape[1], 1) * 3.6))
    for (i, j), value in np.ndenumerate(values):
        _cell(ax, i, j, value, size)
    ax.set_xticks(np.arange(cut.shape[1]) + 0.5, [_name(c) for c in cut.columns])
    ax.set_yticks(np.arange(cut.shape[0]) + 0.5, [_name(r) for r in cut.index])
    if max(len(_name(c)) for c in cut.columns) * cut.shape[1] > 90:
        ax.tick_params(axis="x", labelrotation=90)
    ax.tick_params(length=0)
    ax.set_xlabel(", ".join(short(str(name)) for name in cut.columns.names))
    ax.set_ylabel(", ".join(short(str(name)) for name in cut.index.names))
    bar = figure.colorbar(mesh, ax=ax, extend="both", shrink=min(1.0, 1.6 / height + 0.3), pad=0.01)
    bar.set_label("decades from last layer to first")
    beyond = " (cut to fit; whole in tables/decades.csv)" if cut.shape != table.shape else ""
    head(figure, title + beyond)
    _explain(figure, values)
    return figure


def _cell(ax: Any, i: int, j: int, value: float, size: float) -> None:
    if np.isfinite(value):
        text, colour = f"{value:+.1f}", "white" if abs(value) > 0.62 * SCALE else "black"
    else:
        text = "0" if value == -np.inf else "inf" if value == np.inf else "n/a"
        colour = "black"
        hatch = {"0": "////", "inf": "xxxx"}.get(text, "....")
        box = Rectangle((j, i), 1, 1, facecolor="0.9", hatch=hatch, edgecolor="0.6", gid=text)
        ax.add_patch(box)
    ax.text(
        j + 0.5,
        i + 0.5,
        text,
        ha="center",
        va="center",
        fontsize=size,
        color=colour,
        bbox=None if np.isfinite(value) else {"facecolor": "white", "pad": 0.6, "lw": 0},
    )


def _explain(figure: Figure, values: np.ndarray) -> None:
    kinds = (
        (values == -np.inf, "////", "0: exactly 0 at the first layer"),
        (values == np.inf, "xxxx", "inf: infinite at the first layer"),
        (np.isnan(values), "....", "n/a: no finite gradient"),
    )
    handles = [
        Patch(facecolor="0.9", hatch=hatch, edgecolor="0.6", label=label)
        for found, hatch, label in kinds
        if found.any()
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def _name(level: Any) -> str:
    return ", ".join(map(str, level)) if isinstance(level, tuple) else str(level)
