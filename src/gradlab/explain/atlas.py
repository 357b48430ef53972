"""The atlas: every activation and loss with its derivative, where it is flat, and its pitfall."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradlab.explain.entries import SHOWN, Entry, activations, losses
from gradlab.pages.story import Section, Story, Table
from gradlab.pages.style import COLOURS, LINES, grid, head, legend


def story(title: str, entries: Sequence[Entry], symbol: str, derivative: str) -> Story:
    """Return the atlas in words."""
    rows = [
        [
            e.name,
            e.steepest_said,
            _said(e.saturated, symbol),
            _said(e.zero, symbol),
        ]
        for e in entries
    ]
    headings = ["", f"max |{derivative}|", "below 5% of it", "exactly 0 in torch, float32"]
    sections = [
        Section(
            "Where the gradient gets through",
            (),
            Table(headings, rows, prose=False),
            figure="atlas",
        )
    ]
    for heading, said in (("When to use it", "use"), ("In floating point", "pitfall")):
        table = Table(["", ""], [[e.name, getattr(e, said)] for e in entries])
        sections.append(Section(heading, (), table))
    return Story(title, sections)


def draw(entries: Sequence[Entry], title: str, names: tuple[str, str]) -> Figure:
    """Draw each function and its derivative; grey where it is flat, hatched where it is 0."""
    columns = 4 if len(entries) > 6 else 3
    rows = -(-len(entries) // columns)
    figure, axes = grid(rows, columns, 0.9 + 1.7 * rows)
    for ax, each in zip(axes.flat, entries, strict=False):
        _panel(ax, each)
    for ax in axes.flat[len(entries) :]:
        ax.set_visible(False)
    head(figure, title)
    legend(
        figure,
        [
            Line2D([], [], color=COLOURS[0], ls=LINES[0], label=names[0]),
            Line2D([], [], color=COLOURS[1], ls=LINES[1], label=names[1]),
            Line2D([], [], color=COLOURS[1], marker="o", ls="none", ms=4, label="steepest"),
            Patch(facecolor="0.88", label="below 5% of the steepest"),
            Patch(facecolor="0.88", hatch="////", edgecolor="0.6", label="exactly 0"),
        ],
    )
    return figure


def _panel(ax: Axes, each: Entry) -> None:
    x = np.linspace(-SHOWN, SHOWN, 1001)
    for low, high in each.saturated:
        ax.axvspan(max(low, -SHOWN), min(high, SHOWN), color="0.88", lw=0, zorder=0)
    for low, high in each.zero:
        if low < SHOWN and high > -SHOWN:
            ax.axvspan(
                max(low, -SHOWN),
                min(high, SHOWN),
                fc="0.88",
                ec="0.6",
                hatch="////",
                lw=0,
                zorder=0,
            )
    ax.plot(x, each.f(x), color=COLOURS[0], ls=LINES[0])
    ax.plot(x, each.derivative(x), color=COLOURS[1], ls=LINES[1])
    if abs(each.steepest_at) <= SHOWN:
        peak = each.derivative(np.array([each.steepest_at]))[0]
        ax.plot(each.steepest_at, peak, "o", color=COLOURS[1], ms=4, zorder=4)
    ax.axhline(0, color="0.6", lw=0.5, zorder=1)
    ax.set_xlim(-SHOWN, SHOWN)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -3), min(high, 4.2))
    ax.set_title(f"{each.name}: max {each.steepest_said}", fontsize=7.5)
    ax.set_xlabel(each.axis, fontsize=6.5)
    ax.tick_params(labelsize=6)


def _said(intervals: Sequence[tuple[float, float]], symbol: str) -> str:
    words: list[str] = []
    for low, high in intervals:
        if low == -np.inf:
            words.append(f"{symbol} <= {high:.3g}")
        elif high == np.inf:
            words.append(f"{symbol} >= {low:.3g}")
        else:
            words.append(f"{low:.3g} to {high:.3g}")
    return ", ".join(words) or "nowhere"


def _activations() -> tuple[Story, Figure]:
    entries = activations()
    title = (
        "Sigmoid's derivative is never above 0.25; ReLU's is 0 or 1; GELU's and SiLU's overshoot 1"
    )
    words = story(f"The activations: {title[0].lower()}{title[1:]}", entries, "z", "phi'")
    return words, draw(entries, title, ("phi(z)", "phi'(z)"))


def _losses() -> tuple[Story, Figure]:
    entries = losses()
    title = "Squared error pulls without bound, the others do not; focal lets go of what is right"
    words = story(f"The losses: {title[0].lower()}{title[1:]}", entries, "x", "dLoss/dx")
    return words, draw(entries, title, ("loss of one sample", "its derivative"))


ATLASES = {"activations": _activations, "losses": _losses}
