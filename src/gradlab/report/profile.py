"""The figure of a gradient's norm over depth: a line per setting, a band over its seeds."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.report.roles import Role, assign, left_out
from gradlab.report.style import COLOURS, LINES, Edges, grid, head, legend, log_axis

NAMES = {
    "delta_norm": "error signal ‖dLoss/dz‖",
    "weight_grad_norm": "weight gradient ‖dLoss/dW‖",
}


def over_seeds(layers: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """Return mean, least and greatest log10 over the runs of each setting and position.

    A signal that was exactly 0 in most steps has no mean of logarithms. Runs with a signal of 0 (or
    not finite) in at least half their steps are counted, as shares `zero` and `inf`.
    """
    logs = layers[column].where(layers[f"{column}_zero"] < 0.5)
    table = layers.assign(
        log=logs,
        zero=(layers[f"{column}_zero"] >= 0.5).astype(float),
        inf=(layers[f"{column}_inf"] >= 0.5).astype(float),
    )
    grouped = table.groupby([*by, "position"], sort=False, dropna=False)
    return grouped.agg(
        mean=("log", "mean"),
        low=("log", "min"),
        high=("log", "max"),
        zero=("zero", "mean"),
        inf=("inf", "mean"),
        runs=("log", "size"),
    ).reset_index()


def draw(layers: pd.DataFrame, keys: list[str], column: str, title: str) -> Figure:
    """Draw `column` over depth on a log axis, zeros and infinities at its edges."""
    frame, roles = assign(layers, keys)
    table = over_seeds(frame, ["column", "row", "colour", "line"], column)
    rows, columns = roles["row"].values, roles["column"].values
    figure, axes = grid(
        len(rows), len(columns), 0.9 + 1.45 * max(len(rows), 1.4), sharey="row", sharex="col"
    )
    for i, row in enumerate(rows):
        in_row = table[table["row"] == row]
        edges = _edges(in_row)
        for j, value in enumerate(columns):
            panel = in_row[in_row["column"] == value]
            _panel(axes[i, j], panel, roles, edges)
            axes[i, j].set_title(
                ", ".join(filter(None, [roles["row"].name(row), roles["column"].name(value)]))
            )
    figure.supylabel(f"{NAMES[column]}, geometric mean over steps", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("layer, 1 = input side")
    head(figure, title + left_out(roles))
    legend(figure, _handles(roles))
    return figure


def _edges(table: pd.DataFrame) -> Edges:
    logs = table[["low", "high"]].to_numpy().ravel()
    logs = logs[np.isfinite(logs)]
    low, high = (float(logs.min()), float(logs.max())) if len(logs) else (-1.0, 1.0)
    return Edges(low, high, bool((table["zero"] > 0).any()), bool((table["inf"] > 0).any()))


def _panel(axes: Any, table: pd.DataFrame, roles: dict[str, Role], edges: Edges) -> None:
    log_axis(axes)
    for c, colour in enumerate(roles["colour"].values):
        for s, style in enumerate(roles["line"].values):
            lines = table[(table["colour"] == colour) & (table["line"] == style)]
            lines = lines.sort_values("position")
            if lines.empty:
                continue
            x, look = lines["position"], {"color": COLOURS[c], "linestyle": LINES[s]}
            marker = "o" if len(lines) == 1 else None
            axes.plot(x, 10.0 ** lines["mean"], marker=marker, markersize=3, zorder=3 - s, **look)
            if (lines["runs"] > 1).any():
                band = (10.0 ** lines["low"], 10.0 ** lines["high"])
                axes.fill_between(x, *band, color=COLOURS[c], alpha=0.2, linewidth=0)
            for kind, edge, mark in (("zero", edges.zero, "v"), ("inf", edges.infinity, "^")):
                at = lines[lines[kind] > 0]["position"]
                (marks,) = axes.plot(at, [10**edge] * len(at), mark, color=COLOURS[c], gid=kind)
                marks.set(markersize=3, markeredgewidth=0, alpha=0.8)
    edges.draw(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _handles(roles: dict[str, Role]) -> list[Any]:
    colour, line = roles["colour"], roles["line"]
    handles = [
        Line2D([], [], color=COLOURS[i], label=colour.name(value))
        for i, value in enumerate(colour.values)
        if colour.key
    ]
    return handles + [
        Line2D([], [], color="0.3", linestyle=LINES[i], label=line.name(value))
        for i, value in enumerate(line.values)
        if line.key
    ]
