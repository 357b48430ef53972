"""The figure of a gradient's norm over depth, or over the time steps of a recurrent layer."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradlab.pages.style import (
    COLOURS,
    FILLS,
    LINES,
    MARKERS,
    ROUND,
    add_legend,
    make_axes,
    power_of_ten,
    set_layer_ticks,
    set_title,
)
from gradlab.report.reduce import STATE
from gradlab.report.swept_keys import Role, assign_roles, describe_left_out

NAMES = {
    "delta_norm": "error signal ‖dLoss/dz‖\n(units of the loss)",
    "weight_grad_norm": "weight gradient ‖dLoss/dW‖\n(units of the loss)",
    "act_grad_norm": "norm of the state's gradient\n(units of the loss)",
}
STEPS = {"act_grad_norm": "time step"}


class Edges:
    """The limits of such an axis, and a level in its strips for each series that needs one.

    The values are logarithms on a linear axis: 10^400 cannot be a limit of a log axis.

    Args:
        logs: log10 of what is drawn; what is not finite does not count.
        zeros: how many series have exact zeros; their strip is below the data.
        infinities: how many have values that are not finite; their strip is above the data.
    """

    def __init__(self, logs: np.ndarray, zeros: int, infinities: int) -> None:
        logs = logs[np.isfinite(logs)]
        low, high = (float(logs.min()), float(logs.max())) if len(logs) else (0.0, 0.0)
        if high - low < 1:  # so that there is a power of ten to name
            low, high = float(np.floor(low)), float(np.ceil(high))
        self.data = (low, high) if len(logs) else None
        span = high - low
        margin = max(1.0, 0.1 * span) if zeros or infinities else 0.05 * span + 0.1
        self.gap = max(0.5, 0.07 * (span + 2 * margin))  # that the marks of two series do not touch
        self._zero, self._infinity = low - margin, high + margin
        self.zeros, self.infinities = zeros, infinities
        self.low = self.zero(zeros - 0.5) if zeros else low - margin / 2
        self.high = self.infinity(infinities - 0.5) if infinities else high + margin / 2

    def zero(self, series: float) -> float:
        """Return the level at which the series of this number has its zeros."""
        return self._zero - self.gap * series

    def infinity(self, series: float) -> float:
        """Return the level at which the series of this number is not finite."""
        return self._infinity + self.gap * series

    def draw(self, axes: Axes) -> None:
        """Set the limits and the ticks: powers of ten, and the name of each strip there is."""
        ticks = self._powers()
        for series, border, end, name in (
            (self.zeros, self.zero(-0.5), self.low, "exactly 0"),
            (self.infinities, self.infinity(-0.5), self.high, "not finite"),
        ):
            if series:
                axes.axhspan(border, end, color="0.93", lw=0, zorder=0)
                ticks[(border + end) / 2] = name
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(self.low, self.high)

    def _powers(self) -> dict[float, str]:
        if self.data is None:
            return {}
        low, high = self.data
        nice = MaxNLocator(5, integer=True, steps=ROUND).tick_values(low - 0.5, high + 0.5)
        exponents = [round(tick) for tick in nice if low - 0.5 <= tick <= high + 0.5]
        return {float(exponent): power_of_ten(exponent) for exponent in exponents}


def profile_over_seeds(layers: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
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


def draw_profile(
    layers: pd.DataFrame, keys: list[str], column: str, behind: str, title: str
) -> Figure:
    """Draw log10 of `column` over depth, zeros and what is not finite in strips at the edges.

    Colour and shape of the markers are one key; dashes and how much of a marker is filled are
    another: either is enough without the other, as in print without colour. `behind` says in words
    of how many runs a line is the mean.
    """
    frame, roles = assign_roles(layers, keys)
    table = profile_over_seeds(frame, ["column", "row", "colour", "line"], column)
    rows, columns = roles["row"].values, roles["column"].values
    height = 1.1 + 1.45 * max(len(rows), 1.4)
    figure, axes = make_axes(len(rows), len(columns), height, sharey="row", sharex="col")
    for i, row in enumerate(rows):
        in_row = table[table["row"] == row]
        marked = {kind: _marked(in_row, kind) for kind in ("zero", "inf")}
        edges = _edges_of_row(in_row, marked)
        for j, value in enumerate(columns):
            panel = in_row[in_row["column"] == value]
            _draw_panel(axes[i, j], panel, roles, edges, marked)
            if panel.empty:
                where = {"transform": axes[i, j].transAxes, "ha": "center", "color": "0.3"}
                axes[i, j].text(0.5, 0.5, "not run", **where)
            named = (roles["row"].name(row), roles["column"].name(value))
            axes[i, j].set_title(", ".join(filter(None, named)))
    for j, value in enumerate(columns):
        layers_there = int(table[table["column"] == value]["position"].max())
        axes[-1, j].set_xlim(0.5, layers_there + 0.5)
        set_layer_ticks(axes[-1, j].xaxis, layers_there)
        axes[-1, j].set_xlabel(STEPS.get(column, "layer, 1 = input side"))
    figure.supylabel(NAMES[column], fontsize=8)
    set_title(figure, title + describe_left_out(roles))
    several = bool((table["runs"] > 1).any())
    told = f"a line is the mean of {behind}, a band their range" if several else f"of {behind}"
    add_legend(figure, _handles(roles), told)
    return figure


def _marked(table: pd.DataFrame, kind: str) -> list[tuple[object, object]]:
    """Return the series, by colour and line, that have `kind` anywhere in a row of panels."""
    found = table[table[kind] > 0][["colour", "line"]].drop_duplicates()
    return list(found.itertuples(index=False, name=None))


def _edges_of_row(table: pd.DataFrame, marked: dict[str, list[tuple[object, object]]]) -> Edges:
    logs = table[["low", "high"]].to_numpy(dtype=float).ravel()
    return Edges(logs, len(marked["zero"]), len(marked["inf"]))


def _draw_panel(
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


def time_decades(time: pd.DataFrame) -> "pd.Series[float]":
    """Return log10 ‖dLoss/dh_1‖ / ‖dLoss/dh_T‖ by run (or of c), of the means over the records."""
    logs = time.sort_values("position").groupby("run")[STATE]
    return logs.agg(lambda steps: steps.iloc[0] - steps.iloc[-1])


def time_title(time: pd.DataFrame) -> str:
    """Say what becomes of the gradient on its way from the last step to the first."""
    return "" if time.empty else describe_time_decades(time_decades(time))


def describe_time_decades(decades: "pd.Series[float]") -> str:
    """Say by how many decades runs gain or lose on this way."""
    found = decades.dropna()
    parts = [
        f"{word} up to {abs(value):.1f} decades"
        for word, value in (("loses", found.min()), ("gains", found.max()))
        if value * (-1 if word == "loses" else 1) > 0.05
    ]
    much = " and ".join(parts) or "keeps its size"
    return f"From the last step of a sequence to the first the gradient {much}"
