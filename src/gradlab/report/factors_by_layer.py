"""Of single runs: the decades that each factor adds to the error signal, layer by layer."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.pages.style import (
    COLOURS,
    LINES,
    MARKERS,
    grid,
    head,
    layer_ticks,
    legend,
    panel_head,
    panels,
)
from gradlab.report.reduce import FACTORS
from gradlab.report.titles import FACTORS as TITLES


def draw(records: list[tuple[str, pd.DataFrame]], title: str) -> Figure:
    """Draw, for single runs, the decades of each factor at each layer, on one scale."""
    rows, columns = panels(len(records))
    figure, axes = grid(rows, columns, 1.1 + 1.6 * rows, sharey=True)
    shown = [c for c in FACTORS if c != "norm_factor" or any(_normed(r) for _, r in records)]
    for ax, (name, layers) in zip(axes.flat, records, strict=False):
        layers = layers.sort_values("position")
        for i, column in enumerate(shown):
            values = layers[column]
            if column != "weight_factor":
                values = values.where(layers["position"] < len(layers))  # no activation there
            sparse = max(1, len(layers) // 10)
            ax.plot(layers["position"], values, markevery=sparse, **_line(i))
        ax.axhline(0, color="0.5", lw=0.6)
        panel_head(ax, name, columns)
        ax.set_xlim(0.5, len(layers) + 0.5)
        layer_ticks(ax.xaxis, len(layers))
    for ax in axes.flat[len(records) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("log10 of the factor\n(decades)")
    for ax in axes.flat[max(0, len(records) - columns) : len(records)]:
        ax.set_xlabel("layer (1 = nearest the input)")
    head(figure, title)
    legend(figure, [Line2D([], [], label=TITLES[c], **_line(i)) for i, c in enumerate(shown)])
    return figure


def _line(factor: int) -> dict[str, Any]:
    look = {"color": COLOURS[factor], "linestyle": LINES[factor], "marker": MARKERS[factor]}
    return {**look, "markersize": 2.5}


def _normed(layers: pd.DataFrame) -> bool:
    return bool((layers["norm_factor"].abs() > 1e-6).any())
