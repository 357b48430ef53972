"""The figure of a gradient's norm over depth: a line per setting, a band over its seeds."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.pages.style import COLOURS, FILLS, LINES, MARKERS, grid, head, layer_ticks, legend
from gradlab.report.edges import Edges
from gradlab.report.roles import Role, assign, left_out

NAMES = {
    "delta_norm": "error signal ‖dLoss/dz‖\n(units of the loss)",
    "weight_grad_norm": "weight gradient ‖dLoss/dW‖\n(units of the loss)",
    "act_grad_norm": "norm of the state's gradient\n(units of the loss)",
}
STEPS = {"act_grad_norm": "time step"}


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


def draw(layers: pd.DataFrame, keys: list[str], column: str, behind: str, title: str) -> Figure:
    """Draw log10 of `column` over depth, zeros and what is not finite in strips at the edges.

    Colour and shape of the markers are one key; dashes and how much of a marker is filled are
    another: either is enough without the other, as in print without colour. `behind` says in words
    of how many runs a line is the mean.
    """
    frame, roles = assign(layers, keys)
    table = over_seeds(frame, ["column", "row", "colour", "line"], column)
    rows, columns = roles["row"].values, roles["column"].values
    height = 1.1 + 1.45 * max(len(rows), 1.4)
    figure, axes = grid(len(rows), len(columns), height, sharey="row", sharex="col")
    for i, row in enumerate(rows):
        in_row = table[table["row"] == row]
        marked = {kind: _marked(in_row, kind) for kind in ("zero", "inf")}
        edges = _edges(in_row, marked)
        for j, value in enumerate(columns):
            panel = in_row[in_row["column"] == value]
            _panel(axes[i, j], panel, roles, edges, marked)
            if panel.empty:
                where = {"transform": axes[i, j].transAxes, "ha": "center", "color": "0.3"}
                axes[i, j].text(0.5, 0.5, "not run", **where)
            named = (roles["row"].name(row), roles["column"].name(value))
            axes[i, j].set_title(", ".join(filter(None, named)))
    for j, value in enumerate(columns):
        layers_there = int(table[table["column"] == value]["position"].max())
        axes[-1, j].set_xlim(0.5, layers_there + 0.5)
        layer_ticks(axes[-1, j].xaxis, layers_there)
        axes[-1, j].set_xlabel(STEPS.get(column, "layer, 1 = input side"))
    figure.supylabel(NAMES[column], fontsize=8)
    head(figure, title + left_out(roles))
    several = bool((table["runs"] > 1).any())
    told = f"a line is the mean of {behind}, a band their range" if several else f"of {behind}"
    legend(figure, _handles(roles), told)
    return figure


def _marked(table: pd.DataFrame, kind: str) -> list[tuple[object, object]]:
    """Return the series, by colour and line, that have `kind` anywhere in a row of panels."""
    found = table[table[kind] > 0][["colour", "line"]].drop_duplicates()
    return list(found.itertuples(index=False, name=None))


def _edges(table: pd.DataFrame, marked: dict[str, list[tuple[object, object]]]) -> Edges:
    logs = table[["low", "high"]].to_numpy(dtype=float).ravel()
    return Edges(logs, len(marked["zero"]), len(marked["inf"]))


def _panel(
    axes: Any,
    table: pd.DataFrame,
    roles: dict[str, Role],
    edges: Edges,
    marked: dict[str, list[tuple[object, object]]],
) -> None:
    levels = {"zero": edges.zero, "inf": edges.infinity}
    for c, colour in enumerate(roles["colour"].values):
        for s, style in enumerate(roles["line"].values):
            lines = table[(table["colour"] == colour) & (table["line"] == style)]
            there = lines["mean"].notna() | (lines["zero"] > 0) | (lines["inf"] > 0)
            lines = lines[there].sort_values("position")
            if lines.empty:
                continue
            x, look = lines["position"], _look(c, s)
            sparse = max(1, -(-len(lines) // 6))
            start = (2 * c + s) % sparse  # that the markers of close lines do not hide each other
            shown = {"linestyle": LINES[s], "markevery": (start, sparse), "zorder": 4 - s}
            axes.plot(x, lines["mean"], **look, **shown)
            if (lines["runs"] > 1).any():
                axes.fill_between(x, lines["low"], lines["high"], color=COLOURS[c], alpha=0.2, lw=0)
            for kind, series in marked.items():
                at = lines[lines[kind] > 0]["position"]
                if len(at):
                    level = levels[kind](series.index((colour, style)))
                    axes.hlines([level] * len(at), at - 0.5, at + 0.5, color=COLOURS[c], lw=0.8)
                    few = at[:: max(1, -(-len(at) // 10))]
                    axes.plot(few, [level] * len(few), linestyle="none", gid=kind, **look)
    edges.draw(axes)


def _look(colour: int, line: int, ink: Any = None) -> dict[str, Any]:
    return {
        "color": ink or COLOURS[colour],
        "marker": MARKERS[colour],
        "fillstyle": FILLS[line],
        "markerfacecoloralt": "white",
        "markersize": 4,
        "markeredgewidth": 0.8,
    }


def _handles(roles: dict[str, Role]) -> list[Any]:
    colour, line = roles["colour"], roles["line"]
    handles = [
        Line2D([], [], label=colour.name(value), **_look(i, 0))
        for i, value in enumerate(colour.values)
        if colour.key
    ]
    return handles + [
        Line2D([], [], linestyle=LINES[i], label=line.name(value), **_look(0, i, "0.3"))
        for i, value in enumerate(line.values)
        if line.key
    ]
