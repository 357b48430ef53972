"""How figures look: print sizes, a colour-blind-safe palette, and marks that survive in grey."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

COLOURS: list[Any] = list(sns.color_palette("colorblind"))
LINES: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1, 1, 1)), (0, (6, 2, 1, 2, 1, 2))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<", ">"]

VERDICTS: dict[str, tuple[Any, Any]] = {
    "healthy": (COLOURS[0], LINES[0]),
    "vanishing": (COLOURS[1], LINES[1]),
    "exploding": (COLOURS[3], LINES[2]),
    "diverged": (COLOURS[7], LINES[3]),
    "dead": (COLOURS[4], LINES[4]),
    "saturated": (COLOURS[2], LINES[1]),
}
"""Colour and line of each verdict; the lines tell them apart in grey."""

WIDTH = 7.0  # inches: two columns of a paper

RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "figure.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradlab",
    "pdf.fonttype": 42,
}


@contextmanager
def printed() -> Generator[None]:
    """Draw with these settings, and leave the user's own as they were."""
    with sns.axes_style("ticks"), mpl.rc_context(RC):
        yield


def grid(rows: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, Any]:
    """Return a figure of the full width, laid out tightly, and its axes [rows, columns]."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, axes


def head(figure: Figure, text: str) -> None:
    """Set the figure's title: the finding, in as many lines as the width asks for."""
    figure.suptitle(fill(text, 92))


def panel_head(axes: Axes, text: str, columns: int) -> None:
    """Set a panel's title, broken to the width of one of `columns` panels."""
    axes.set_title(fill(text, 96 // columns - 4))


def panels(count: int) -> tuple[int, int]:
    """Return rows and columns for `count` panels, at most three a row."""
    columns = 2 if count == 4 else min(count, 3)
    return -(-count // columns), columns


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write `name`.png (200 dots an inch) and `name`.svg."""
    figure.savefig(folder / f"{name}.png", dpi=200)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def legend(figure: Figure, handles: list[Any], title: str | None = None) -> None:
    """Put one legend below the axes, outside the data."""
    if handles:
        longest = max(len(handle.get_label()) for handle in handles)
        columns = max(1, min(len(handles), 6, 140 // (longest + 9)))
        figure.legend(
            handles=handles, title=title, loc="outside lower center", ncols=columns, frameon=False
        )


class Edges:
    """The limits of a log axis, and the lines at which it draws what has no logarithm.

    Args:
        low: log10 of the least value drawn.
        high: log10 of the greatest.
        zeros: whether there are exact zeros; their line is below the data.
        infinities: whether anything is not finite; its line is above the data.
    """

    def __init__(self, low: float, high: float, zeros: bool, infinities: bool) -> None:
        margin = max(2.0, 0.1 * (high - low)) if zeros or infinities else 0.05 * (high - low) + 0.1
        self.zero, self.infinity = low - margin, high + margin
        self.zeros, self.infinities = zeros, infinities
        self.limits = (
            10.0 ** (self.zero - margin if zeros else low - margin / 2),
            10.0 ** (self.infinity + margin if infinities else high + margin / 2),
        )

    def draw(self, axes: Axes) -> None:
        """Set the limits, and draw the lines that are needed, each with its name."""
        axes.set_ylim(*self.limits)
        for needed, value, name, side in (
            (self.zeros, self.zero, "exactly 0", "top"),
            (self.infinities, self.infinity, "not finite", "bottom"),
        ):
            if needed:
                axes.axhline(10**value, color="0.45", linewidth=0.7, linestyle=(0, (1, 2)))
                axes.annotate(
                    name,
                    (1.0, 10**value),
                    xycoords=axes.get_yaxis_transform(),
                    ha="right",
                    va=side,
                    fontsize=6.5,
                    color="0.3",
                )


def log_axis(axes: Axes) -> None:
    """Give a log y axis few, round ticks, over however many decades."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
