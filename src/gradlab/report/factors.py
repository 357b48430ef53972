"""What the activations and what the weights do to the error signal, in decades a layer."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.report.reduce import FACTORS
from gradlab.report.roles import Role, assign, left_out
from gradlab.report.style import COLOURS, LINES, MARKERS, grid, head, legend, panel_head, panels

TITLES = {"act_factor": "activations", "weight_factor": "weights", "norm_factor": "normalisation"}


def per_layer(layers: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return decades a layer by setting: the mean over hidden layers, steps and seeds of log10.

    As in the product over depth: activations (and normalisation) of layers 1..L-1, weights of 2..L.
    A run in which a factor is nowhere defined is left out of its setting's mean.
    """
    last = layers.groupby("run")["position"].transform("max")
    inner = layers[last > 1]
    top = last[last > 1]
    used = inner[[*FACTORS]].copy()
    used.loc[inner["position"] == top, ["act_factor", "norm_factor"]] = np.nan
    used.loc[inner["position"] == 1, "weight_factor"] = np.nan
    table = pd.concat([inner[["run", *keys]], used], axis=1)
    runs = table.groupby(["run", *keys], sort=False, dropna=False)[[*FACTORS]].mean().reset_index()
    if not keys:
        return runs[[*FACTORS]].mean().to_frame().T
    return runs.groupby(keys, sort=False, dropna=False)[[*FACTORS]].mean().reset_index()


def plane(table: pd.DataFrame, keys: list[str], title: str) -> Figure:
    """Draw each setting at (activations, weights): on the diagonal the signal keeps its size."""
    frame, roles = assign(table, _by_activation(keys))
    figure, axes = grid(1, 1, 3.9)
    ax = axes[0, 0]
    y = frame["weight_factor"] + frame["norm_factor"].fillna(0)
    x = frame["act_factor"]
    for c, colour in enumerate(roles["column"].values):
        for m, marker in enumerate(roles["row"].values):
            chosen = (frame["column"] == colour) & (frame["row"] == marker)
            look = {"color": COLOURS[c % 10], "mec": "white", "mew": 0.4, "ms": 6, "alpha": 0.85}
            ax.plot(x[chosen], y[chosen], MARKERS[m % 10], linestyle="none", **look)
    across, up = _span(x), _span(pd.concat([y, -x]))
    line = np.array([min(across[0], -up[1]), max(across[1], -up[0])])
    ax.plot(line, -line, color="0.4", lw=0.8, linestyle=(0, (4, 2)), zorder=0)
    ax.fill_between(line, -line, max(up[1], -line[0]), color="0.93", zorder=-1, lw=0)
    ax.set_xlim(*across)
    ax.set_ylim(*up)
    for text, at, side in (
        ("above: grows towards the input", (0.98, 0.97), ("right", "top")),
        ("below: vanishes towards the input", (0.02, 0.03), ("left", "bottom")),
    ):
        ha, va = side
        ax.annotate(text, at, xycoords="axes fraction", ha=ha, va=va, fontsize=7, color="0.25")
    ax.set_xlabel("activations: mean log10 of ‖phi' · signal‖ / ‖signal‖ (decades a layer)")
    normed = bool((frame["norm_factor"].abs() > 1e-6).any())
    ax.set_ylabel(f"weights{' and normalisation' if normed else ''} (decades a layer)")
    head(figure, title + left_out(roles))
    legend(figure, _handles(roles))
    return figure


def by_layer(records: list[tuple[str, pd.DataFrame]], title: str) -> Figure:
    """Draw, for single runs, the decades of each factor at each layer."""
    rows, columns = panels(len(records))
    figure, axes = grid(rows, columns, 0.9 + 1.6 * rows)
    for ax, (name, layers) in zip(axes.flat, records, strict=False):
        layers = layers.sort_values("position")
        for i, column in enumerate(FACTORS):
            values = layers[column].where(layers["position"] < len(layers))  # no activation there
            if column == "weight_factor":
                values = layers[column]
            if column != "norm_factor" or (values.abs() > 1e-6).any():
                marker = MARKERS[i] if len(layers) < 25 else None
                look = {"color": COLOURS[i], "linestyle": LINES[i], "marker": marker}
                ax.plot(layers["position"], values, markersize=2.5, **look)
        ax.axhline(0, color="0.5", lw=0.6)
        panel_head(ax, name, columns)
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    for ax in axes.flat[len(records) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("decades")
    for ax in axes.flat[max(0, len(records) - columns) : len(records)]:
        ax.set_xlabel("layer (1 = nearest the input)")
    head(figure, title)
    shown = [c for c in FACTORS if any((r[c].abs() > 1e-6).any() for _, r in records)]
    legend(
        figure,
        [
            Line2D([], [], color=COLOURS[i], linestyle=LINES[i], label=TITLES[column])
            for i, column in enumerate(FACTORS)
            if column in shown
        ],
    )
    return figure


def _span(values: pd.Series) -> tuple[float, float]:
    """Return the range of the finite values, with a margin."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = max(0.08, 0.1 * (high - low))
    return low - margin, high + margin


def _by_activation(keys: list[str]) -> list[str]:
    """Put the two keys that rule the factors first: they become colour and marker."""
    ruling = [key for key in ("model.activation", "model.init") if key in keys]
    rest = [key for key in keys if key not in ruling]
    if len(ruling) == 2:
        return ruling
    return [*ruling, *rest][:2] if len(keys) > 1 else keys


def _handles(roles: dict[str, Role]) -> list[Line2D]:
    colour, marker = roles["column"], roles["row"]
    if not colour.key:
        colour = roles["colour"]
    handles = [
        Line2D([], [], color=COLOURS[i % 10], marker="o", linestyle="none", label=str(value))
        for i, value in enumerate(colour.values)
        if colour.key
    ]
    return handles + [
        Line2D([], [], color="0.3", marker=MARKERS[i % 10], linestyle="none", label=str(value))
        for i, value in enumerate(marker.values)
        if marker.key
    ]
