"""The style of figures: sizes for print, a colour-blind-safe palette, marks that differ in grey."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill, wrap
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from gradlab import schema

COLOURS: list[Any] = list(sns.color_palette("colorblind"))
LINES: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1, 1, 1)), (0, (6, 2, 1, 2, 1, 2))]
FILLS: list[Any] = ["full", "none", "left", "bottom", "right", "top"]
"""How much of a marker is filled. Levels then differ without colour."""
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<", ">"]

_LOOKS: dict[str, tuple[Any, Any]] = {
    "healthy": (COLOURS[0], LINES[0]),
    "vanishing": (COLOURS[1], LINES[1]),
    "exploding": (COLOURS[3], LINES[2]),
    "diverged": (COLOURS[7], LINES[3]),
    "dead": (COLOURS[4], LINES[4]),
    "saturated": (COLOURS[2], LINES[1]),
    "underflow": (COLOURS[9], LINES[2]),
    "overflow": (COLOURS[5], LINES[3]),
    "skipped": ("0.2", LINES[1]),
    "unstable": (COLOURS[6], LINES[4]),
    "starved": (COLOURS[8], LINES[1]),
    "symmetric": ("0.4", LINES[2]),
    "below_eps": ("0.5", LINES[3]),
    "spike": ("0.3", LINES[4]),
    "not_learning": ("0.6", LINES[1]),
    "too_early": ("0.7", LINES[0]),
}
VERDICTS = _LOOKS | {
    verdict: (COLOURS[i % 10], LINES[i % 5])
    for i, verdict in enumerate(schema.VERDICTS)
    if verdict not in _LOOKS
}
"""Colour and line of every verdict of the schema. In grey, the lines differ."""

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NO_BREAK = "\N{NO-BREAK SPACE}"
ROUND = [1, 2, 5, 10]  # ticks are at these multiples of a power of ten
DPI = 200
WIDTH = 7.0  # inches, the width of two columns of a paper

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
    "text.parse_math": False,  # a value such as $x$ is text
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradlab",
    "pdf.fonttype": 42,
}


def verdict_colours() -> dict[str, str]:
    """Return the colour of each verdict, such as `#0173b2`."""
    return {verdict: to_hex(colour) for verdict, (colour, _) in VERDICTS.items()}


def verdict_tints() -> dict[str, str]:
    """Mix a light background for each verdict: 15 % of its colour on white.

    Returns:
        CSS colours by verdict.
    """
    return {verdict: to_hex(_tint(*to_rgb(colour))) for verdict, (colour, _) in VERDICTS.items()}


def _tint(*parts: float) -> Any:
    return tuple(0.85 + 0.15 * part for part in parts)


@contextmanager
def print_style() -> Generator[None]:
    """Apply these settings inside a `with` block, and restore the user's settings after it."""
    with sns.axes_style("ticks"), mpl.rc_context(RC):
        yield


def make_axes(rows: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, Any]:
    """Make a figure of the full width with a grid of axes.

    Args:
        rows: number of rows of axes.
        columns: number of columns of axes.
        height: height of the figure in inches.
        kwargs: arguments of `Figure.subplots`.

    Returns:
        The figure, and its axes as an array [rows, columns].
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, axes


def set_title(figure: Figure, text: str) -> None:
    """Set the title of a figure, in as few lines as its width allows."""
    figure.suptitle(balance_lines(text, 92))


def set_panel_title(axes: Axes, text: str, columns: int) -> None:
    """Set the title of a panel, in as few lines as the panel's width allows.

    Args:
        axes: the panel.
        text: the title.
        columns: number of panels in a row of the figure.
    """
    axes.set_title(balance_lines(text, 96 // columns - 4))


def balance_lines(text: str, width: int) -> str:
    """Break a text into as few lines as `width` allows, of similar length.

    No line break separates a number from the words next to it.

    Args:
        text: the text, one line.
        width: most characters in a line.

    Returns:
        The text with line breaks.
    """
    text = re.sub(r"(?<=\d) (?=\w)|(?<=\w) (?=[-+]?\d)", NO_BREAK, text)
    lines = len(wrap(text, width))
    widths = (w for w in range(1, width) if len(wrap(text, w)) <= lines)
    return fill(text, next(widths, width)).replace(NO_BREAK, " ")


def arrange_panels(count: int) -> tuple[int, int]:
    """Return the numbers of rows and columns for `count` panels, at most three in a row."""
    columns = 2 if count == 4 else min(count, 3)
    return -(-count // columns), columns


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG (200 dots per inch) and as SVG.

    The layout is computed once for both files. `savefig` would compute it for each.

    Args:
        figure: the figure.
        folder: the folder, which exists.
        name: name of both files, without suffix.
    """
    figure.dpi = DPI
    FigureCanvasAgg(figure).print_png(folder / f"{name}.png")
    figure.set_layout_engine(None)  # pyright: ignore[reportArgumentType]
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def add_legend(figure: Figure, handles: list[Any], title: str | None = None) -> None:
    """Put one legend below the axes, outside the data.

    Args:
        figure: the figure.
        handles: entries of the legend.
        title: title of the legend.
    """
    if handles or title:
        longest = max((len(handle.get_label()) for handle in handles), default=0)
        columns = max(1, min(len(handles), 6, 140 // (longest + 9)))
        figure.legend(
            handles=handles, title=title, loc="outside lower center", ncols=columns, frameon=False
        )


def power_of_ten(exponent: int) -> str:
    """Return a power of ten as plain text, 10⁻⁵. Matplotlib draws it faster than a formula."""
    return f"10{str(exponent).translate(SUPERSCRIPTS)}"


def set_log_axis(axes: Axes) -> None:
    """Give axes a logarithmic y axis with a few ticks at powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(lambda value, _: power_of_ten(round(np.log10(value))))
    axes.yaxis.set_minor_locator(NullLocator())


def set_layer_ticks(axis: Axis, layers: int, most: int = 6) -> None:
    """Put ticks at whole layers, starting with layer 1.

    Args:
        axis: the axis.
        layers: number of layers.
        most: most ticks.
    """
    nice = MaxNLocator(most, integer=True, steps=ROUND).tick_values(1, max(layers, 2))
    axis.set_ticks([1, *(int(tick) for tick in nice if 1 < tick <= layers)])


def set_step_ticks(axis: Axis, most: int = 6) -> None:
    """Put at most `most` ticks at whole steps."""
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=ROUND))
