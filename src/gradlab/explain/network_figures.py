"""Draw the figures of `gradlab explain`: the network with its gradients, and the error signal."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.explain.sample_pass import SamplePass, max_slope
from gradlab.pages.numbers import decades_text, percent
from gradlab.pages.style import COLOURS, LINES, add_legend, make_axes, set_title
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import Sample, factor_decades, gradient_shares, strongest_path

Positions = dict[tuple[int, int], tuple[float, float]]
"""The position (x, y) of each drawn unit, by layer (0 = the input) and unit."""

MOST_NUMBERED = 90  # with more units, their numbers would overlap
MOST_EDGES = 40  # between two layers, the weights with the largest gradients
MOST_UNITS = 12  # in a layer, the units with the largest gradients


def draw_network(explained: SamplePass) -> Figure:
    """Draw the units, and each weight as a line whose width shows its share of the gradient."""
    shares, sample = gradient_shares(explained.sample), explained.sample
    path = strongest_path(sample, explained.layer, explained.weight)
    on_path = [f for f in path.factors if f.kind != "weight"]
    positions = _place_units(shares, [(f.layer, f.units[-1]) for f in on_path])
    figure, axes = make_axes(1, 1, 3.8)
    ax = axes[0, 0]
    _draw_edges(ax, sample, shares, positions)
    ax.plot(
        *zip(*positions.values(), strict=True),
        "o",
        color="white",
        mec="0.2",
        mew=0.8,
        ms=7,
        zorder=3,
    )
    dotted = sorted({positions[f.layer, f.units[-1]] for f in on_path})
    ax.plot(*zip(*dotted, strict=True), color="0.1", lw=0.9, ls=":", marker="o", ms=3, zorder=4)
    _draw_names(ax, explained, positions)
    _draw_ticks(ax, shares)
    ax.margins(0.06, 0.1)
    ax.spines[:].set_visible(False)
    largest = int(np.argmax([share.sum() for share in shares]))
    set_title(
        figure,
        f"Layer {largest + 1} has {percent(shares[largest].sum())} of the gradient for this "
        f"sample; dotted: the strongest path from the loss to {explained.name}",
    )
    add_legend(
        figure,
        [
            Line2D(
                [], [], color=COLOURS[0], ls=LINES[0], lw=2, label="the loss falls if it increases"
            ),
            Line2D(
                [], [], color=COLOURS[3], ls=LINES[1], lw=2, label="the loss falls if it decreases"
            ),
            Line2D([], [], color="0.1", ls=":", marker="o", ms=3, label="strongest path"),
        ],
    )
    return figure


def draw_signal(explained: SamplePass) -> Figure:
    """Draw log10 of ‖dZ_l‖ / ‖dZ_L‖, its parts by activations and weights, and a bound."""
    act, weights = factor_decades(explained.sample)
    last = len(act)
    position = np.arange(1, last + 1)
    # From layer l to the last: activations of l..L-1, weights of l+1..L.
    by_phi = np.append(np.cumsum(act[:-1][::-1])[::-1], 0.0)
    by_weights = np.append(np.cumsum(weights[1:][::-1])[::-1], 0.0)
    bound = float(np.log10(max_slope(explained.sample.layers[0].phi)))
    figure, axes = make_axes(1, 1, 3.2)
    ax = axes[0, 0]
    series = (
        (by_phi + by_weights, "error signal: both", COLOURS[0], LINES[0], "o"),
        (by_phi, "activations alone", COLOURS[1], LINES[1], "s"),
        (by_weights, "weights alone", COLOURS[2], LINES[2], "^"),
        (
            bound * (last - position),
            f"bound of phi' alone: {10**bound:.4g} per layer",
            "0.35",
            LINES[3],
            None,
        ),
    )
    for values, label, colour, style, marker in series:
        shown = np.where(np.isfinite(values), values, np.nan)
        look = {"color": colour, "linestyle": style, "marker": marker, "markersize": 3.5}
        ax.plot(position, shown, label=label, **look)
    ax.axhline(0, color="0.6", lw=0.6)
    ax.set_xlabel("layer (1 = nearest the input)")
    ax.set_ylabel("decades relative to the last layer")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    total = float((by_phi + by_weights)[0])
    change = f"grows {decades_text(total)}" if total > 0 else f"falls {decades_text(total)}"
    change = change if np.isfinite(total) else "falls to exactly 0"
    set_title(
        figure,
        f"From last layer to first, the error signal {change}: activations {by_phi[0]:+.1f}, "
        f"weights {by_weights[0]:+.1f} (bound of phi' alone, {10**bound:.4g}^{last - 1}: "
        f"{bound * (last - 1):+.1f})",
    )
    return figure


def _place_units(shares: Sequence[Array], path: Sequence[tuple[int, int]]) -> Positions:
    """Choose the units to draw and their positions: the path, and the largest gradients."""
    positions: Positions = {}
    for m in range(len(shares) + 1):
        into = shares[m - 1].sum(axis=0) if m else 0.0
        out = shares[m].sum(axis=1) if m < len(shares) else 0.0
        order = [int(unit) for unit in np.argsort(-np.asarray(into + out), kind="stable")]
        drawn = [unit for layer, unit in path if layer == m]
        drawn = sorted([*drawn, *[u for u in order if u not in drawn]][:MOST_UNITS])
        for row, unit in enumerate(drawn):
            positions[m, unit] = float(m), (len(drawn) - 1) / 2 - row
    return positions


def _draw_edges(ax: Axes, sample: Sample, shares: Sequence[Array], positions: Positions) -> None:
    """Draw the weights between drawn units.

    Args:
        ax: the axes.
        sample: the pass of the sample.
        shares: the gradient shares of each layer, [n_in, n_out].
        positions: the positions of the units.
    """
    largest = max(float(share.max()) for share in shares) or 1.0
    # All weights of a wide layer would be a black patch.
    least = [np.sort(share, axis=None)[-MOST_EDGES:][0] for share in shares]
    for sign, colour, style in ((1, COLOURS[3], LINES[1]), (-1, COLOURS[0], LINES[0])):
        edges = [
            (positions[m, i], positions[m + 1, j], float(share[i, j]) / largest)
            for m, share in enumerate(shares)
            for i in range(share.shape[0])
            for j in range(share.shape[1])
            if (m, i) in positions and (m + 1, j) in positions
            if sample.grads[m].dW[i, j] * sign > 0
            if share[i, j] >= least[m]
        ]
        lines = LineCollection(
            [[start, end] for start, end, _ in edges],
            linewidths=[0.2 + 5 * np.sqrt(size) for *_, size in edges],
            colors=[colour],
            linestyles=[style],
            alpha=0.75,
            zorder=1,
        )
        ax.add_collection(lines)


def _draw_names(ax: Axes, explained: SamplePass, positions: Positions) -> None:
    """Write the names of features, the numbers of units, and how many units are drawn.

    Args:
        ax: the axes.
        explained: the pass of the sample.
        positions: the positions of the units.
    """
    for (m, unit), place in positions.items():
        if m == 0:
            ax.annotate(
                explained.dataset.features[unit],
                place,
                (-8.0, 0.0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
            )
    sample = explained.sample
    for m, count in enumerate([sample.X.shape[1], *(layer.W.shape[1] for layer in sample.layers)]):
        shown = [y for (layer, _), (_, y) in positions.items() if layer == m]
        for (layer, unit), place in positions.items():
            if layer == m > 0 and len(positions) <= MOST_NUMBERED:
                ax.annotate(
                    str(unit), place, (0, 6), textcoords="offset points", ha="center", fontsize=6
                )
        if len(shown) < count:
            ax.annotate(f"{len(shown)} of {count}", (m, min(shown) - 0.9), ha="center", fontsize=7)


def _draw_ticks(ax: Axes, shares: Sequence[Array]) -> None:
    names = ["input", *[f"a_{m}" for m in range(1, len(shares) + 1)]]
    every = -(-len(names) // 16)
    ax.set_xticks(range(0, len(names), every), names[::every])
    ax.set_yticks([])
    ax.tick_params(length=0)
    for m in range(1, len(shares) + 1, every):
        place = (m - 0.5, 1.0)
        text = f"W_{m}\n{percent(shares[m - 1].sum())}"
        ax.annotate(
            text, place, xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=6.5
        )
