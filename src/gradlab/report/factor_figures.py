"""Draw the decades that activations and weights add to the error signal."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.pages.style import (
    COLOURS,
    FILLS,
    LINES,
    MARKERS,
    add_legend,
    arrange_panels,
    make_axes,
    set_layer_ticks,
    set_panel_title,
    set_title,
)
from gradlab.report.reduce import FACTORS
from gradlab.report.swept_keys import Role, assign_roles, describe_left_out, format_value, short_key
from gradlab.report.titles import FACTOR_NAMES

NO_SHAPE = -1  # a hexagon: the marker of legend entries that explain only colour and fill


def factors_by_setting(layers: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Average the decades per layer of each factor over the runs of each setting.

    Args:
        layers: rows of `Reduced.layers` with the columns of `keys`.
        keys: the swept keys.

    Returns:
        A row per setting: the keys and the factor columns, as mean log10 per layer. A run without
        a value of a factor does not count in the mean of that factor.
    """
    runs = factors_by_run(layers, keys)
    if not keys:
        return runs[[*FACTORS]].mean().to_frame().T
    return runs.groupby(keys, sort=False, dropna=False)[[*FACTORS]].mean().reset_index()


def factors_by_run(layers: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Average the decades per layer of each factor over the layers of each run.

    The means are over the layers in the product over depth: activations and normalisation of layers
    1..L-1, weights of layers 2..L.

    Args:
        layers: rows of `Reduced.layers` with the columns of `keys`.
        keys: the swept keys.

    Returns:
        A row per run: `run`, the keys, and the factor columns, as mean log10 per layer.
    """
    last = layers.groupby("run")["position"].transform("max")
    inner = layers[last > 1]
    top = last[last > 1]
    used = inner[[*FACTORS]].copy()
    used.loc[inner["position"] == top, ["act_factor", "norm_factor"]] = np.nan
    used.loc[inner["position"] == 1, "weight_factor"] = np.nan
    table = pd.concat([inner[["run", *keys]], used], axis=1)
    return table.groupby(["run", *keys], sort=False, dropna=False)[[*FACTORS]].mean().reset_index()


def draw_factor_plane(table: pd.DataFrame, keys: list[str], seeds: str, title: str) -> Figure:
    """Draw each setting as a point (activations, weights), in decades per layer.

    On the diagonal the error signal keeps its size. Colour and fill of a marker show one key, its
    shape another.

    Args:
        table: a row per setting, of `factors_by_setting`.
        keys: the swept keys.
        seeds: number of runs per point as text, such as "5 seeds".
        title: the title of the figure.

    Returns:
        The figure.
    """
    frame, roles = assign_roles(table, _by_activation(keys))
    figure, axes = make_axes(1, 1, 3.9)
    ax = axes[0, 0]
    y = frame["weight_factor"] + frame["norm_factor"].fillna(0)
    x = frame["act_factor"]
    hue = "column" if roles["column"].key else "colour"
    for c, colour in enumerate(roles[hue].values):
        for m, shape in enumerate(roles["row"].values):
            chosen = (frame[hue] == colour) & (frame["row"] == shape)
            ax.plot(x[chosen], y[chosen], **_marker_style(c, m))
    across, up = _span(x, 0.1), _span(pd.concat([y, -x]), 0.18)  # space for the labels
    line = np.array([min(across[0], -up[1]), max(across[1], -up[0])])
    ax.plot(line, -line, color="0.4", lw=0.8, linestyle=(0, (4, 2)), zorder=0)
    ax.fill_between(line, -line, max(up[1], -line[0]), color="0.93", zorder=-1, lw=0)
    ax.set_xlim(*across)
    ax.set_ylim(*up)
    for text, at, ha, va in (
        ("above: grows towards the input", (0.98, 0.97), "right", "top"),
        ("below: vanishes towards the input", (0.02, 0.03), "left", "bottom"),
    ):
        ax.annotate(text, at, xycoords="axes fraction", ha=ha, va=va, fontsize=7, color="0.25")
    ax.set_xlabel("activations: mean log10 of ‖phi' · signal‖ / ‖signal‖ (decades per layer)")
    normed = bool((frame["norm_factor"].abs() > 1e-6).any())
    ax.set_ylabel(f"weights{' and normalisation' if normed else ''} (decades per layer)")
    set_title(figure, title + describe_left_out(roles))
    add_legend(
        figure, _handles(roles[hue], roles["row"]), f"each mark is a setting, mean over {seeds}"
    )
    return figure


def _span(values: pd.Series, share: float) -> tuple[float, float]:
    """Return the range of the finite values, with a margin."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = max(0.08, share * (high - low))
    return low - margin, high + margin


def _by_activation(keys: list[str]) -> list[str]:
    """Return the two keys to draw. Activation and initialisation affect the factors most."""
    first = [key for key in ("model.activation", "model.init") if key in keys]
    rest = [key for key in keys if key not in first]
    if len(first) == 2:
        return first
    return [*first, *rest][:2] if len(keys) > 1 else keys


def _marker_style(hue: int, shape: int, ink: Any = None) -> dict[str, Any]:
    """Return the style of a marker.

    Args:
        hue: index of colour and fill.
        shape: index of the shape, or `NO_SHAPE`.
        ink: a colour that replaces the colour of `hue`.

    Returns:
        Arguments of `Axes.plot`.
    """
    return {
        "color": ink or COLOURS[hue % 10],
        "fillstyle": FILLS[hue % 6],
        "marker": "h" if shape == NO_SHAPE else MARKERS[shape % 10],
        "markerfacecoloralt": "white",
        "linestyle": "none",
        "ms": 6,
        "mew": 1.0,
        "alpha": 0.75,
    }


def _handles(hue: Role, shape: Role) -> list[Line2D]:
    handles = [
        Line2D(
            [],
            [],
            label=f"{short_key(hue.key)} {format_value(value)}",
            **_marker_style(i, NO_SHAPE if shape.key else 0),
        )
        for i, value in enumerate(hue.values)
        if hue.key
    ]
    return handles + [
        Line2D(
            [],
            [],
            label=f"{short_key(shape.key)} {format_value(value)}",
            **_marker_style(0, i, "0.3"),
        )
        for i, value in enumerate(shape.values)
        if shape.key
    ]


def draw_factors_by_layer(records: list[tuple[str, pd.DataFrame]], title: str) -> Figure:
    """Draw the decades of each factor at each layer, in one panel per run, on one scale.

    Args:
        records: label and rows of `Reduced.layers`, for each run.
        title: the title of the figure.

    Returns:
        The figure.
    """
    rows, columns = arrange_panels(len(records))
    figure, axes = make_axes(rows, columns, 1.1 + 1.6 * rows, sharey=True)
    shown = [
        c for c in FACTORS if c != "norm_factor" or any(_has_normalisation(r) for _, r in records)
    ]
    for ax, (name, layers) in zip(axes.flat, records, strict=False):
        layers = layers.sort_values("position")
        for i, column in enumerate(shown):
            values = layers[column]
            if column != "weight_factor":
                values = values.where(layers["position"] < len(layers))  # the last layer has none
            sparse = max(1, len(layers) // 10)
            ax.plot(layers["position"], values, markevery=sparse, **_line(i))
        ax.axhline(0, color="0.5", lw=0.6)
        set_panel_title(ax, name, columns)
        ax.set_xlim(0.5, len(layers) + 0.5)
        set_layer_ticks(ax.xaxis, len(layers))
    for ax in axes.flat[len(records) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("log10 of the factor\n(decades)")
    for ax in axes.flat[max(0, len(records) - columns) : len(records)]:
        ax.set_xlabel("layer (1 = nearest the input)")
    set_title(figure, title)
    add_legend(
        figure, [Line2D([], [], label=FACTOR_NAMES[c], **_line(i)) for i, c in enumerate(shown)]
    )
    return figure


def _line(factor: int) -> dict[str, Any]:
    look = {"color": COLOURS[factor], "linestyle": LINES[factor], "marker": MARKERS[factor]}
    return {**look, "markersize": 2.5}


def _has_normalisation(layers: pd.DataFrame) -> bool:
    return bool((layers["norm_factor"].abs() > 1e-6).any())
