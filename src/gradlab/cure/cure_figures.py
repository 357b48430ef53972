"""Before and after: the error signal over depth, and the loss over steps."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.cure.course import Course
from gradlab.cure.ranking import Rank
from gradlab.cure.words import decades, left, number
from gradlab.pages.numbers import count
from gradlab.pages.style import (
    COLOURS,
    LINES,
    MARKERS,
    add_legend,
    make_axes,
    set_log_axis,
    set_step_ticks,
    set_title,
)
from gradlab.report.layer_profile import draw_profile

BEST = 3
POINTS = 50  # of a loss curve: each is a mean over as many steps as it takes

CAPTIONS = {
    "signal": "The norm of the error signal over the batch, at each layer. Geometric mean over the "
    "recorded steps; the line is the mean over the seeds, the band their range.",
    "loss": "Training loss, in means over {steps}; the line is the median over the seeds that are "
    "still training, the band their range. × is the last loss of a seed that diverged.",
}


def draw(course: Course) -> dict[str, Figure]:
    """Return the figures by name, of the unchanged run and its best remedies."""
    shown = compared(course)
    return {"signal": signal(course, shown), "loss": loss(course, shown)}


def compared(course: Course) -> list[Rank]:
    """Return the unchanged run and the best that cure it or help, or else the next best."""
    trained = [each for each in course.ranks if each.verdict != "failed"]
    good = [each for each in trained if each.verdict in ("cures", "helps")]
    return [course.base, *(good[:BEST] or trained[:1])]


def signal(course: Course, shown: list[Rank]) -> Figure:
    """Draw ‖dLoss/dz_l‖ over depth."""
    names = [each.remedy.name for each in shown]
    parts = [
        trial.profile.assign(run=f"{trial.remedy.name}, {trial.seed}", remedy=trial.remedy.name)
        for name in names
        for trial in course.trials
        if trial.remedy.name == name and not trial.profile.empty
    ]
    layers = pd.concat(parts)
    behind = count(int(layers.groupby("remedy")["run"].nunique().max()), "seed")
    return draw_profile(layers, ["remedy"], "delta_norm", behind, signal_title(shown))


def signal_title(shown: list[Rank]) -> str:
    """Say how many decades the error signal gains or loses, unchanged and with the best remedy."""
    base, *rest = shown
    told = f"Decades that the error signal gains from output to input: {_gained(base)} unchanged"
    return f"{told}, {_gained(rest[0])} with {rest[0].remedy.name}" if rest else told


def loss(course: Course, shown: list[Rank]) -> Figure:
    """Draw the training loss over steps."""
    figure, axes = make_axes(1, 1, 3.0)
    ax = axes[0, 0]
    extent: list[float] = []
    for index, each in enumerate(shown):
        extent += _curve(ax, course, each, index)
    ax.set_xlabel("step (updates)")
    ax.set_ylabel("training loss (batch mean)")
    last = course.settings.train.steps
    ax.set_xlim(-0.03 * last, 1.03 * last)
    set_step_ticks(ax.xaxis)
    if extent and min(extent) > 0 and max(extent) / min(extent) > 30:
        set_log_axis(ax)
    set_title(figure, loss_title(course, shown))
    handles = [
        Line2D([], [], label=each.remedy.name, **_look(index)) for index, each in enumerate(shown)
    ]
    add_legend(figure, handles)
    return figure


def loss_title(course: Course, shown: list[Rank]) -> str:
    """Say where the loss ends, unchanged and with the best remedy."""
    base, *rest = shown
    told = f"After {course.settings.train.steps} steps the loss is {number(base.loss)} unchanged"
    if not rest:
        return f"{told} ({left(base)})"
    best = rest[0]
    return f"{told} ({left(base)}), {number(best.loss)} with {best.remedy.name} ({left(best)})"


def window(steps: int) -> int:
    """Return over how many steps a point of a loss curve is a mean."""
    return max(1, math.ceil(steps / POINTS))


def _curve(ax: Any, course: Course, shown: Rank, index: int) -> list[float]:
    """Draw one remedy's loss; return the least and the greatest that was drawn."""
    width = window(course.settings.train.steps)
    curves: dict[int, pd.Series] = {}
    for trial in course.trials:
        values = pd.Series(trial.losses, dtype=float)
        values = values[np.isfinite(values)]
        if trial.remedy != shown.remedy or values.empty:
            continue
        groups = values.index // width
        curves[trial.seed] = values.groupby(groups).mean()
        curves[trial.seed].index = values.index.to_series().groupby(groups).mean()
        if "diverged" in trial.kinds:
            end = curves[trial.seed]
            ax.plot(end.index[-1], end.iloc[-1], "x", color=COLOURS[index], ms=6, zorder=5)
    if not curves:
        return []
    table = pd.DataFrame(curves)
    sparse = max(1, len(table) // 7)
    start = index * sparse // 4
    ax.plot(table.index, table.median(axis=1), **_look(index), markevery=(start, sparse))
    low, high = table.min(axis=1), table.max(axis=1)
    ax.fill_between(table.index, low, high, color=COLOURS[index], alpha=0.2, lw=0)
    return [float(low.min()), float(high.max())]


def _look(index: int) -> dict[str, Any]:
    mark = {"marker": MARKERS[index], "ms": 4, "markeredgewidth": 0.8}
    return {"color": COLOURS[index], "linestyle": LINES[index], **mark}


def _gained(shown: Rank) -> str:
    return decades(shown.decades) or "unknown"
