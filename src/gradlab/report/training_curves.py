"""Draw figures over training steps: loss curves by verdict, and the error signal by layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from gradlab.diagnosis.grid import over_depth
from gradlab.pages.numbers import count
from gradlab.pages.style import (
    VERDICTS,
    add_legend,
    arrange_panels,
    make_axes,
    set_layer_ticks,
    set_log_axis,
    set_panel_title,
    set_step_ticks,
    set_title,
)
from gradlab.results.nullable import values_and_mask

THIN: dict[str, Any] = {"color": "0.45", "lw": 0.7, "label": "a run"}
MEDIAN: dict[str, Any] = {"color": "0.15", "lw": 1.5}
LAST: dict[str, Any] = {"color": "0.2", "marker": "x", "ms": 4, "linestyle": "none"}


def draw_losses(losses: pd.DataFrame, runs: pd.DataFrame, keys: list[str], title: str) -> Figure:
    """Draw the loss curves of all runs, in one panel per verdict.

    A thin line is a run, the thick line the median of the panel. In the panel "diverged", × marks
    the last finite loss of a run.

    Args:
        losses: `run`, `step`, `loss`.
        runs: `run`, `verdict` and the columns of `keys`.
        keys: the swept keys.
        title: the title of the figure.

    Returns:
        The figure.
    """
    table = losses.merge(runs[["run", "verdict"]], on="run")
    shown = [v for v in VERDICTS if (runs["verdict"] == v).any()]
    rows, columns = arrange_panels(max(len(shown), 1))
    figure, axes = make_axes(rows, columns, 1.0 + 1.9 * rows)
    mark_kinds: set[str] = set()
    for ax, verdict in zip(axes.flat, shown, strict=False):
        curves = table[table["verdict"] == verdict]
        mark_kinds |= _draw_loss_panel(ax, curves, verdict)
        set_panel_title(
            ax, _panel_title(runs[runs["verdict"] == verdict], keys, curves, verdict), columns
        )
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("training loss (batch mean)")
    for ax in axes.flat[max(0, len(shown) - columns) : len(shown)]:
        ax.set_xlabel("step (updates)")
    set_title(figure, title)
    marks = {
        "run": Line2D([], [], **THIN),
        "median": Line2D([], [], label="median of the runs", **MEDIAN),
        "last": Line2D([], [], label="the last finite loss", **LAST),
    }
    add_legend(figure, [handle for kind, handle in marks.items() if kind in mark_kinds])
    return figure


def _panel_title(runs: pd.DataFrame, keys: list[str], curves: pd.DataFrame, verdict: str) -> str:
    """Return the title of a panel: `diverged: 2 runs of 1 setting, 1 without a finite loss`.

    Args:
        runs: the runs of the verdict.
        keys: the swept keys.
        curves: `run` and `loss` of these runs.
        verdict: the verdict.

    Returns:
        The title.
    """
    begun = curves.groupby("run")["loss"].agg(lambda loss: np.isfinite(loss).any())
    never = int((~begun.astype(bool)).sum())
    note = f", {never} without a finite loss" if never else ""
    settings = len(runs[keys].drop_duplicates()) if keys else 1
    of = f" of {count(settings, 'setting')}" if len(runs) > 1 else ""
    return f"{verdict}: {count(len(runs), 'run')}{of}{note}"


def _draw_loss_panel(ax: Any, table: pd.DataFrame, verdict: str) -> set[str]:
    """Draw the curves of one verdict.

    Args:
        ax: the panel.
        table: `run`, `step`, `loss`.
        verdict: the verdict.

    Returns:
        The kinds of marks in the panel: "run", "median", "last".
    """
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
    ax.set_xlim(*_step_limits(finite["step"]))
    set_step_ticks(ax.xaxis)
    if finite["loss"].min() > 0 and finite["loss"].max() / finite["loss"].min() > 30:
        set_log_axis(ax)
    return kinds


def _step_limits(steps: pd.Series) -> tuple[float, float]:
    """Return limits of the x axis with a margin around the first and the last step."""
    last = float(steps.max())
    margin = max(0.5, 0.03 * last)
    return -margin, last + margin


def pick_runs(runs: pd.DataFrame, most: int = 6) -> list[str]:
    """Choose runs for figures of single runs: the worst run of each verdict, and a healthy run.

    The worst run has the most decades, up or down; exact zeros count as infinitely many.

    Args:
        runs: a row per run, of `run_table`.
        most: most runs to choose.

    Returns:
        The names of the runs.
    """
    worst = runs.assign(size=runs["decades"].abs().fillna(-1.0)).sort_values(
        "size", ascending=False, kind="stable"
    )
    good = ["healthy", "too_early"]
    unhealthy = worst[~worst["verdict"].isin(good)].drop_duplicates("verdict")["run"].tolist()
    healthy = worst[worst["verdict"].isin(good)]["run"].tolist()[-1:]
    return [*unhealthy[: most - 1], *healthy] or runs["run"].tolist()[:1]


def draw_timeline(records: Sequence[tuple[str, pd.DataFrame, int]], title: str) -> Figure:
    """Draw log10 ‖delta_l‖ by step (x axis) and layer (y axis), in one panel per run.

    Exact zeros are hatched, and values that are not finite are cross-hatched. A layer that was not
    measured (null) is blank.

    Args:
        records: for each run its label, its rows of `layers.parquet`, and its number of steps.
        title: the title of the figure.

    Returns:
        The figure.
    """
    rows, columns = arrange_panels(len(records))
    figure, axes = make_axes(rows, columns, 1.1 + 1.9 * rows)
    kinds: set[str] = set()
    for ax, (name, record, steps) in zip(axes.flat, records, strict=False):
        mesh = _draw_timeline_panel(ax, record, steps, kinds)
        set_panel_title(ax, name, columns)
        if mesh.get_array().count():  # without finite values, a colour bar has nothing to show
            bar = figure.colorbar(mesh, ax=ax, pad=0.02)
            bar.set_label("log10 ‖delta‖", fontsize=7)
            bar.locator = MaxNLocator(5)
            bar.update_ticks()
            bar.ax.tick_params(labelsize=6)
    for ax in axes.flat[len(records) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("layer (1 = nearest the input)")
    for ax in axes.flat[max(0, len(records) - columns) : len(records)]:
        ax.set_xlabel("step (updates)")
    set_title(figure, title)
    handles = [
        Patch(facecolor="white", edgecolor="0.4", hatch=hatch, label=label)
        for label, hatch in (("exactly 0", "////"), ("not finite", "xxxx"))
        if label in kinds
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_timeline_panel(ax: Any, record: pd.DataFrame, steps: int, kinds: set[str]) -> Any:
    """Draw the panel of one run.

    Args:
        ax: the panel.
        record: rows of `layers.parquet`.
        steps: number of steps of the run.
        kinds: receives the kinds of hatched cells in the panel: "exactly 0", "not finite".

    Returns:
        The coloured mesh.
    """
    delta = over_depth(record, "delta_norm")
    values = delta.to_numpy(dtype=float).T
    null = record.assign(delta_norm=values_and_mask(record, "delta_norm")[1].astype(float))
    measured = over_depth(null, "delta_norm").to_numpy().T == 0
    positions = delta.columns.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(values)
    x = step_borders(delta.index.to_numpy(), steps)
    y = np.append(positions - 0.5, positions[-1] + 0.5)
    mesh = ax.pcolormesh(x, y, np.ma.masked_invalid(logs), cmap="cividis", rasterized=True)
    for label, where, hatch in (
        ("exactly 0", values == 0, "////"),
        ("not finite", measured & ~np.isfinite(values), "xxxx"),
    ):
        if where.any():
            kinds.add(label)
            masked = np.ma.masked_where(~where, np.ones_like(values))
            grey = ListedColormap(["0.92"])
            ax.pcolor(x, y, masked, cmap=grey, hatch=hatch, edgecolor="0.5", lw=0, gid=label)
    ax.invert_yaxis()
    set_step_ticks(ax.xaxis, 5)
    set_layer_ticks(ax.yaxis, int(positions[-1]))
    return mesh


def step_borders(recorded: np.ndarray, steps: int) -> np.ndarray:
    """Return the x positions of cell borders: the recorded steps, and the end of training."""
    return np.append(recorded, max(steps, recorded[-1] + 1))
