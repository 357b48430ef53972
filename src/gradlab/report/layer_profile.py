"""Draw the norm of a gradient over depth, or over the time steps of a recurrent layer."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradlab.pages.numbers import decades_text
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
    """The limits of a y axis with strips for exact zeros and for values that are not finite.

    Each series has its level in a strip, so that series do not hide each other. The axis is linear
    and shows logarithms, because a log axis cannot reach 10^400.

    Args:
        logs: log10 of the drawn values; those that are not finite do not affect the limits.
        zeros: number of series with exact zeros. Their strip is below the data.
        infinities: number of series with values that are not finite. Their strip is above the data.
    """

    def __init__(self, logs: np.ndarray, zeros: int, infinities: int) -> None:
        logs = logs[np.isfinite(logs)]
        low, high = (float(logs.min()), float(logs.max())) if len(logs) else (0.0, 0.0)
        if high - low < 1:  # the axis then contains a power of ten for its ticks
            low, high = float(np.floor(low)), float(np.ceil(high))
        self.data = (low, high) if len(logs) else None
        span = high - low
        margin = max(1.0, 0.1 * span) if zeros or infinities else 0.05 * span + 0.1
        self.gap = max(0.5, 0.07 * (span + 2 * margin))  # the marks of two series do not touch
        self._zero, self._infinity = low - margin, high + margin
        self.zeros, self.infinities = zeros, infinities
        self.low = self.zero(zeros - 0.5) if zeros else low - margin / 2
        self.high = self.infinity(infinities - 0.5) if infinities else high + margin / 2

    def zero(self, series: float) -> float:
        """Return the y position at which a series, counted from 0, has its zeros."""
        return self._zero - self.gap * series

    def infinity(self, series: float) -> float:
        """Return the y position at which a series, counted from 0, is not finite."""
        return self._infinity + self.gap * series

    def draw(self, axes: Axes) -> None:
        """Set limits and ticks: powers of ten, and the name of each strip that is used."""
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
    """Summarise log10 of a column over the runs of each setting and position.

    Args:
        layers: rows of `Reduced.layers` or `Reduced.time`, with the columns in `by`.
        by: the columns that define a setting.
        column: a signal, such as "delta_norm".

    Returns:
        A row per setting and position: `mean`, `low` and `high` of log10; `runs`, number of runs;
        `zero` and `inf`, the shares of runs whose signal was exactly 0, or not finite, in at least
        half of the steps. A run with such zeros does not count in mean and range.
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
    layers: pd.DataFrame, keys: list[str], column: str, seeds: str, title: str
) -> Figure:
    """Draw log10 of a column over depth, with strips for exact zeros and values not finite.

    Colour and shape of the markers show one key; dashes and fill of the markers show another. The
    figure is therefore readable without colour.

    Args:
        layers: rows of `Reduced.layers` or `Reduced.time`, with the columns of `keys`.
        keys: the swept keys.
        column: a signal, one of `NAMES`.
        seeds: number of runs per line as text, such as "5 seeds".
        title: the title of the figure.

    Returns:
        The figure.
    """
    frame, roles = assign_roles(layers, keys)
    table = profile_over_seeds(frame, ["column", "row", "colour", "line"], column)
    rows, columns = roles["row"].values, roles["column"].values
    height = 1.1 + 1.45 * max(len(rows), 1.4)
    figure, axes = make_axes(len(rows), len(columns), height, sharey="row", sharex="col")
    for i, row in enumerate(rows):
        in_row = table[table["row"] == row]
        marked = {kind: _series_with(in_row, kind) for kind in ("zero", "inf")}
        edges = _edges_of_row(in_row, marked)
        for j, value in enumerate(columns):
            panel = in_row[in_row["column"] == value]
            _draw_panel(axes[i, j], panel, roles, edges, marked)
            if panel.empty:
                centre = {"transform": axes[i, j].transAxes, "ha": "center", "color": "0.3"}
                axes[i, j].text(0.5, 0.5, "not run", **centre)
            names = (roles["row"].name(row), roles["column"].name(value))
            axes[i, j].set_title(", ".join(filter(None, names)))
    for j, value in enumerate(columns):
        last = int(table[table["column"] == value]["position"].max())
        axes[-1, j].set_xlim(0.5, last + 0.5)
        set_layer_ticks(axes[-1, j].xaxis, last)
        axes[-1, j].set_xlabel(STEPS.get(column, "layer (1 = input side)"))
    figure.supylabel(NAMES[column], fontsize=8)
    set_title(figure, title + describe_left_out(roles))
    several = bool((table["runs"] > 1).any())
    note = f"line: mean over {seeds}, band: range" if several else seeds
    add_legend(figure, _handles(roles), note)
    return figure


def _series_with(table: pd.DataFrame, kind: str) -> list[tuple[object, object]]:
    """Return colour and line of each series with a "zero" or "inf" in a row of panels."""
    series = table[table[kind] > 0][["colour", "line"]].drop_duplicates()
    return list(series.itertuples(index=False, name=None))


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
    """Draw the series of one panel.

    Args:
        axes: the panel.
        table: its rows, of `profile_over_seeds`.
        roles: the roles of the keys.
        edges: the y axis.
        marked: the series with a level in the strip "zero" or "inf".
    """
    levels = {"zero": edges.zero, "inf": edges.infinity}
    for c, colour in enumerate(roles["colour"].values):
        for s, style in enumerate(roles["line"].values):
            lines = table[(table["colour"] == colour) & (table["line"] == style)]
            known = lines["mean"].notna() | (lines["zero"] > 0) | (lines["inf"] > 0)
            lines = lines[known].sort_values("position")
            if lines.empty:
                continue
            x, markers = lines["position"], _marker_style(c, s)
            sparse = max(1, -(-len(lines) // 6))
            start = (2 * c + s) % sparse  # markers of close lines then do not hide each other
            line = {"linestyle": LINES[s], "markevery": (start, sparse), "zorder": 4 - s}
            axes.plot(x, lines["mean"], **markers, **line)
            if (lines["runs"] > 1).any():
                axes.fill_between(x, lines["low"], lines["high"], color=COLOURS[c], alpha=0.2, lw=0)
            for kind, series in marked.items():
                at = lines[lines[kind] > 0]["position"]
                if len(at):
                    level = levels[kind](series.index((colour, style)))
                    axes.hlines([level] * len(at), at - 0.5, at + 0.5, color=COLOURS[c], lw=0.8)
                    few = at[:: max(1, -(-len(at) // 10))]
                    axes.plot(few, [level] * len(few), linestyle="none", gid=kind, **markers)
    edges.draw(axes)


def _marker_style(colour: int, line: int, ink: Any = None) -> dict[str, Any]:
    """Return the style of a marker.

    Args:
        colour: index of colour and shape.
        line: index of the fill.
        ink: a colour that replaces the colour of `colour`.

    Returns:
        Arguments of `Axes.plot`.
    """
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
        Line2D([], [], label=colour.name(value), **_marker_style(i, 0))
        for i, value in enumerate(colour.values)
        if colour.key
    ]
    return handles + [
        Line2D([], [], linestyle=LINES[i], label=line.name(value), **_marker_style(0, i, "0.3"))
        for i, value in enumerate(line.values)
        if line.key
    ]


def time_decades(time: pd.DataFrame) -> "pd.Series[float]":
    """Return log10 ‖dLoss/dh_1‖ / ‖dLoss/dh_T‖ by run, from the rows of `Reduced.time`."""
    logs = time.sort_values("position").groupby("run")[STATE]
    return logs.agg(lambda steps: steps.iloc[0] - steps.iloc[-1])


def time_title(time: pd.DataFrame) -> str:
    """State how the gradient changes from the last time step to the first; "" without rows."""
    return "" if time.empty else describe_time_decades(time_decades(time))


def describe_time_decades(decades: "pd.Series[float]") -> str:
    """State the largest fall and the largest growth from the last time step to the first."""
    known = decades.dropna()
    parts = [
        f"{verb} up to {decades_text(value)}"
        for verb, sign, value in (("falls", -1, known.min()), ("grows", 1, known.max()))
        if sign * value > 0.05
    ]
    change = " and ".join(parts) or "keeps its size"
    return f"From last time step to first, the gradient {change}"
