"""Loss curves, a panel per verdict."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gradlab.report.style import VERDICTS, grid, head, log_axis, panels


def draw(losses: pd.DataFrame, runs: pd.DataFrame, title: str) -> Figure:
    """Draw each run's loss thin and the median over a verdict's runs thick; × = not finite next."""
    table = losses.merge(runs[["run", "verdict"]], on="run")
    shown = [v for v in VERDICTS if (runs["verdict"] == v).any()]
    rows, columns = panels(max(len(shown), 1))
    figure, axes = grid(rows, columns, 0.7 + 1.9 * rows)
    for ax, verdict in zip(axes.flat, shown, strict=False):
        _panel(ax, table[table["verdict"] == verdict], verdict)
        ax.set_title(f"{verdict}: {int((runs['verdict'] == verdict).sum())} runs")
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("training loss (batch mean)")
    for ax in axes.flat[max(0, len(shown) - columns) : len(shown)]:
        ax.set_xlabel("step (updates)")
    head(figure, title)
    return figure


def _panel(ax: Any, table: pd.DataFrame, verdict: str) -> None:
    colour, line = VERDICTS[verdict]
    finite = table[np.isfinite(table["loss"])]
    alpha = float(np.clip(6 / max(table["run"].nunique(), 1), 0.2, 0.8))
    for _, curve in finite.groupby("run", sort=False):
        ax.plot(curve["step"], curve["loss"], color=colour, alpha=alpha, lw=0.7)
        if verdict == "diverged":
            ax.plot(*curve.iloc[-1][["step", "loss"]], "x", color="0.2", ms=4, gid="diverged")
    if finite["run"].nunique() > 2 and verdict != "diverged":
        median = finite.groupby("step")["loss"].median()
        ax.plot(median.index, median, color="0.15", linestyle=line, lw=1.5)
    never = table["run"].nunique() - finite["run"].nunique()
    if never:
        note = f"{never} not finite at step 0"
        ax.annotate(note, (0.98, 0.96), xycoords="axes fraction", ha="right", va="top", fontsize=7)
    wide = len(finite) and finite["loss"].min() > 0
    if wide and finite["loss"].max() / finite["loss"].min() > 30:
        log_axis(ax)
