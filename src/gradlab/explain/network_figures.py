"""The pictures of a story: the network with its edges by blame, and the signal layer by layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.explain.sample_pass import SamplePass, steepest
from gradlab.pages.numbers import percent
from gradlab.pages.style import COLOURS, LINES, add_legend, make_axes, set_title
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import Sample, factor_decades, gradient_shares, strongest_path

Places = dict[tuple[int, int], tuple[float, float]]
"""Where each drawn unit stands, by layer (0 = the input) and unit."""

MOST_NUMBERED = 90  # units: in a picture of more, numbers run into each other
MOST_EDGES = 40  # drawn between two layers
MOST_UNITS = 12  # drawn of a layer: those with most blame


def network(passed: SamplePass) -> Figure:
    """Draw the units, and each weight as a line as wide as its blame."""
    shares, sample = gradient_shares(passed.sample), passed.sample
    path = strongest_path(sample, passed.layer, passed.weight)
    on_path = [f for f in path.factors if f.kind != "weight"]
    places = _places(shares, [(f.layer, f.units[-1]) for f in on_path])
    figure, axes = make_axes(1, 1, 3.8)
    ax = axes[0, 0]
    _edges(ax, sample, shares, places)
    ax.plot(
        *zip(*places.values(), strict=True), "o", color="white", mec="0.2", mew=0.8, ms=7, zorder=3
    )
    dotted = sorted({places[f.layer, f.units[-1]] for f in on_path})
    ax.plot(*zip(*dotted, strict=True), color="0.1", lw=0.9, ls=":", marker="o", ms=3, zorder=4)
    _names(ax, passed, places)
    _ticks(ax, shares)
    ax.margins(0.06, 0.1)
    ax.spines[:].set_visible(False)
    heavy = int(np.argmax([share.sum() for share in shares]))
    set_title(
        figure,
        f"Layer {heavy + 1} carries {percent(shares[heavy].sum())} of the blame for this sample's "
        f"loss; dotted, the strongest path to {passed.name}",
    )
    add_legend(
        figure,
        [
            Line2D(
                [], [], color=COLOURS[0], ls=LINES[0], lw=2, label="increase it: the loss falls"
            ),
            Line2D(
                [], [], color=COLOURS[3], ls=LINES[1], lw=2, label="decrease it: the loss falls"
            ),
            Line2D([], [], color="0.1", ls=":", marker="o", ms=3, label="strongest path"),
        ],
    )
    return figure


def signal(passed: SamplePass) -> Figure:
    """Draw log10 of ‖dZ_l‖ / ‖dZ_L‖, its two parts, and what phi' alone could do at most."""
    act, weights = factor_decades(passed.sample)
    last = len(act)
    position = np.arange(1, last + 1)
    # From layer l up to the last: activations of l..L-1, weights of l+1..L.
    by_phi = np.append(np.cumsum(act[:-1][::-1])[::-1], 0.0)
    by_weights = np.append(np.cumsum(weights[1:][::-1])[::-1], 0.0)
    bound = float(np.log10(steepest(passed.sample.layers[0].phi)))
    figure, axes = make_axes(1, 1, 3.2)
    ax = axes[0, 0]
    series = (
        (by_phi + by_weights, "the error signal: both", COLOURS[0], LINES[0], "o"),
        (by_phi, "activations alone", COLOURS[1], LINES[1], "s"),
        (by_weights, "weights alone", COLOURS[2], LINES[2], "^"),
        (
            bound * (last - position),
            f"bound of phi' alone: {10**bound:.4g} a layer",
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
    ax.set_ylabel("decades since the last layer")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    total = float((by_phi + by_weights)[0])
    change = "exactly nothing is left" if not np.isfinite(total) else f"{total:+.1f} decades"
    set_title(
        figure,
        f"From the last layer to the first, the error signal changes by {change}: activations "
        f"{by_phi[0]:+.1f}, weights {by_weights[0]:+.1f} ({10**bound:.4g}^{last - 1}, the bound of "
        f"phi' alone, is {bound * (last - 1):+.1f})",
    )
    return figure


def _places(shares: Sequence[Array], must: Sequence[tuple[int, int]]) -> Places:
    """Return where the units to draw stand: those of the path, and those with most blame."""
    places: Places = {}
    for m in range(len(shares) + 1):
        into = shares[m - 1].sum(axis=0) if m else 0.0
        out = shares[m].sum(axis=1) if m < len(shares) else 0.0
        order = [int(unit) for unit in np.argsort(-np.asarray(into + out), kind="stable")]
        kept = [unit for layer, unit in must if layer == m]
        kept = sorted([*kept, *[u for u in order if u not in kept]][:MOST_UNITS])
        for row, unit in enumerate(kept):
            places[m, unit] = float(m), (len(kept) - 1) / 2 - row
    return places


def _edges(ax: Axes, sample: Sample, shares: Sequence[Array], places: Places) -> None:
    largest = max(float(share.max()) for share in shares) or 1.0
    # Of a wide layer, the weights with most blame: all of them would be a black patch.
    least = [np.sort(share, axis=None)[-MOST_EDGES:][0] for share in shares]
    for sign, colour, style in ((1, COLOURS[3], LINES[1]), (-1, COLOURS[0], LINES[0])):
        edges = [
            (places[m, i], places[m + 1, j], float(share[i, j]) / largest)
            for m, share in enumerate(shares)
            for i in range(share.shape[0])
            for j in range(share.shape[1])
            if (m, i) in places and (m + 1, j) in places
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


def _names(ax: Axes, passed: SamplePass, places: Places) -> None:
    """Name the features, and say of how many units a part is drawn."""
    for (m, unit), place in places.items():
        if m == 0:
            ax.annotate(
                passed.dataset.features[unit],
                place,
                (-8.0, 0.0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
            )
    sample = passed.sample
    for m, count in enumerate([sample.X.shape[1], *(layer.W.shape[1] for layer in sample.layers)]):
        shown = [y for (layer, _), (_, y) in places.items() if layer == m]
        for (layer, unit), place in places.items():
            if layer == m > 0 and len(places) <= MOST_NUMBERED:
                ax.annotate(
                    str(unit), place, (0, 6), textcoords="offset points", ha="center", fontsize=6
                )
        if len(shown) < count:
            ax.annotate(f"{len(shown)} of {count}", (m, min(shown) - 0.9), ha="center", fontsize=7)


def _ticks(ax: Axes, shares: Sequence[Array]) -> None:
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
