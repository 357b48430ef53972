"""Loss curves, a panel per verdict."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.pages.style import (
    VERDICTS,
    grid,
    head,
    legend,
    log_axis,
    panel_head,
    panels,
    step_ticks,
)
from gradlab.report.sentences import count

THIN: dict[str, Any] = {"color": "0.45", "lw": 0.7, "label": "a run"}
MEDIAN: dict[str, Any] = {"color": "0.15", "lw": 1.5}
LAST: dict[str, Any] = {"color": "0.2", "marker": "x", "ms": 4, "linestyle": "none"}


def draw(losses: pd.DataFrame, runs: pd.DataFrame, keys: list[str], title: str) -> Figure:
    """Draw each run's loss thin and the median over a verdict's runs thick; × = not finite next.

    The runs of a verdict are of all settings that have it; each panel says how many.
    """
    table = losses.merge(runs[["run", "verdict"]], on="run")
    shown = [v for v in VERDICTS if (runs["verdict"] == v).any()]
    rows, columns = panels(max(len(shown), 1))
    figure, axes = grid(rows, columns, 1.0 + 1.9 * rows)
    drawn: set[str] = set()
    for ax, verdict in zip(axes.flat, shown, strict=False):
        curves = table[table["verdict"] == verdict]
        drawn |= _panel(ax, curves, verdict)
        panel_head(ax, _name(runs[runs["verdict"] == verdict], keys, curves, verdict), columns)
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("training loss (batch mean)")
    for ax in axes.flat[max(0, len(shown) - columns) : len(shown)]:
        ax.set_xlabel("step (updates)")
    head(figure, title)
    marks = {
        "run": Line2D([], [], **THIN),
        "median": Line2D([], [], label="median of the runs", **MEDIAN),
        "last": Line2D([], [], label="the last finite loss", **LAST),
    }
    legend(figure, [handle for kind, handle in marks.items() if kind in drawn])
    return figure


def _name(runs: pd.DataFrame, keys: list[str], curves: pd.DataFrame, verdict: str) -> str:
    begun = curves.groupby("run")["loss"].agg(lambda loss: np.isfinite(loss).any())
    never = int((~begun.astype(bool)).sum())
    told = f", {never} without a finite loss" if never else ""
    settings = len(runs[keys].drop_duplicates()) if keys else 1
    of = f" of {count(settings, 'setting')}" if len(runs) > 1 else ""
    return f"{verdict}: {count(len(runs), 'run')}{of}{told}"


def _panel(ax: Any, table: pd.DataFrame, verdict: str) -> set[str]:
    """Draw the curves of one verdict; return which kinds of marks there are."""
    colour, line = VERDICTS[verdict]
    finite = table[np.isfinite(table["loss"])]
    kinds = {"run"} if len(finite) else set[str]()
    alpha = float(np.clip(6 / max(table["run"].nunique(), 1), 0.2, 0.8))
    for _, curve in finite.groupby("run", sort=False):
        ax.plot(curve["step"], curve["loss"], color=colour, alpha=alpha, lw=0.7)
        if verdict == "diverged":
            ax.plot(*curve.iloc[-1][["step", "loss"]], **LAST, gid="diverged")
            kinds.add("last")
    if finite["run"].nunique() > 2 and verdict != "diverged":
        median = finite.groupby("step")["loss"].median()
        ax.plot(median.index, median, linestyle=line, **MEDIAN)
        kinds.add("median")
    if finite.empty:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "no finite loss to draw", ha="center", transform=ax.transAxes)
        return kinds
    ax.set_xlim(*_room(finite["step"]))
    step_ticks(ax.xaxis)
    if finite["loss"].min() > 0 and finite["loss"].max() / finite["loss"].min() > 30:
        log_axis(ax)
    return kinds


def _room(steps: pd.Series) -> tuple[float, float]:
    """Return limits that show the first and the last step whole."""
    last = float(steps.max())
    margin = max(0.5, 0.03 * last)
    return -margin, last + margin
