"""The figure of error against step: truncation falls, rounding rises, and between them lies h."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gradlab.errors import StoreError
from gradlab.pages.style import COLOURS, LINES, MARKERS, grid, head, printed, save

ORDERS = {"one_sided": (1, 1 / 2), "two_sided": (2, 1 / 3)}
"""Of each scheme: the order of its truncation error, and the power of eps of its best step."""


def draw(table: pd.DataFrame, title: str) -> Figure:
    """Draw the columns `one_sided` and `two_sided` against `h`, with lines of slope 1, 2 and -1."""
    figure, axes = grid(1, 1, 3.6)
    ax = axes[0, 0]
    h = table["h"].to_numpy()
    least = table[[*ORDERS]].where(table[[*ORDERS]] > 0).min().min()
    for i, (scheme, (order, power)) in enumerate(ORDERS.items()):
        error = table[scheme].where(table[scheme] > 0).to_numpy()
        label = f"{scheme.replace('_', '-')}: truncation ~ h{'²' if order == 2 else ''}"
        look = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 3}
        ax.plot(h, error, label=label, linestyle="none", **look)
        # Truncation is what is seen where it is a thousandth: a line through there.
        anchor = np.nanargmin(np.abs(np.log10(error / 1e-3)) + np.where(h < 1e-6, 99, 0))
        guide = error[anchor] * (h / h[anchor]) ** order
        ax.plot(h, guide, color=COLOURS[i], linestyle=LINES[i], lw=0.8)
        best = np.finfo(float).eps ** power
        ax.axvline(best, color=COLOURS[i], linestyle=LINES[i], lw=0.6, alpha=0.7)
        name = f"eps^(1/{round(1 / power)})"
        ax.annotate(name, (best, 2.0), ha="right", va="bottom", rotation=90, fontsize=7)
    noisy = table[table["h"] < 1e-9]
    level = np.median(noisy["two_sided"] * noisy["h"])
    ax.plot(h, level / h, color="0.4", linestyle=LINES[3], lw=0.8, label="rounding ~ 1/h")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(least / 3, 30)
    ax.set_xlabel("step h (in units of the weight's scale)")
    ax.set_ylabel("relative error of the derivative (median)")
    ax.legend(frameon=False, loc="lower left")
    head(figure, title)
    return figure


def draw_to(table: pd.DataFrame, folder: Path) -> Path:
    """Save the figure in `folder`; return its path.

    Raises:
        StoreError: the folder cannot be written.
    """
    two, one = table["two_sided"].min(), table["one_sided"].min()
    title = (
        f"A two-sided difference reaches {two:.0e}, a one-sided one {one:.0e}; then rounding rules"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with printed():
            save(draw(table, title), folder, "trade_off")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder / "trade_off.png"
