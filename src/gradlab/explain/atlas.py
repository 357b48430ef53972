"""Draw an atlas of all activations or losses: derivatives, flat intervals and pitfalls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradlab.config import choices
from gradlab.config.choices import component, pick
from gradlab.pages.page import Page, PageTable, Section
from gradlab.pages.style import COLOURS, LINES, add_legend, make_axes, set_title
from gradlab.recording.columns import derivative
from gradlab.reference.activation_functions import ACTIVATIONS, Array
from gradlab.reference.loss_functions import LOSSES, Loss

SATURATED_BELOW = 0.05  # of the steepest slope, as in the column `saturated`
SHOWN, GRID = 5.0, np.linspace(-120, 120, 240_001)
COARSE = np.linspace(-120, 120, 2401, dtype=np.float32)
CLASSES = 10


@dataclass(frozen=True)
class Entry:
    """A function of one variable as the atlas shows it.

    Attributes:
        name: name of the function.
        axis: label of the x axis.
        f: the function.
        derivative: its derivative f'.
        use: when to use it.
        pitfall: its most common mistake in floating point.
        steepest: max |f'|.
        steepest_at: the x of this maximum; NaN without a single x.
        steepest_text: both as text, such as `0.25 at 0`.
        saturated: intervals in which |f'| is below 5% of its maximum.
        zero: intervals in which torch's derivative is exactly 0 in float32.
    """

    # attributes: a record with one field for each value that the atlas shows

    name: str
    axis: str
    f: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    use: str
    pitfall: str
    steepest: float
    steepest_at: float
    steepest_text: str
    saturated: Sequence[tuple[float, float]]
    zero: Sequence[tuple[float, float]]


def make_entry(
    name: str,
    axis: str,
    f: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    use: str,
    pitfall: str,
    zero: Array,
) -> Entry:
    """Make an entry. Its maximum and its flat intervals are found on a grid.

    Args:
        name: name of the function.
        axis: label of the x axis.
        f: the function.
        derivative: its derivative.
        use: when to use it.
        pitfall: its most common mistake.
        zero: whether torch's derivative is exactly 0 in float32, at each point of `COARSE`.

    Returns:
        The entry.
    """
    slope = np.abs(derivative(GRID))
    steepest, at, text = _find_steepest(slope)
    flat = (
        slope < SATURATED_BELOW * steepest if np.isfinite(steepest) else np.zeros_like(slope, bool)
    )
    return Entry(
        name,
        axis,
        f,
        derivative,
        use,
        pitfall,
        steepest,
        at,
        text,
        _intervals(GRID, flat),
        _intervals(COARSE, zero),
    )


def _find_steepest(slope: Array) -> tuple[float, float, str]:
    """Find the maximum of |f'| on the grid: its value, its x, and both as text."""
    largest = float(slope.max())
    if largest > 1.5 * slope[np.abs(GRID) <= GRID[-1] / 2].max():
        return np.inf, np.nan, "unbounded"
    maxima = GRID[slope >= largest * (1 - 1e-12)]
    at = float(maxima[np.abs(maxima).argmin()])
    if len(maxima) == len(GRID):
        return largest, np.nan, f"{largest:.4g} everywhere"
    if abs(at) > SHOWN:
        return largest, np.nan, f"{largest:.4g} towards {'-' if at < 0 else ''}∞"
    below, above = maxima[0] == GRID[0], maxima[-1] == GRID[-1]
    where = "beyond ±" if below and above else "from " if above else "at "
    return largest, at, f"{largest:.4g} {where}{round(abs(at) if below else at, 2):g}"


def activations() -> list[Entry]:
    """Make an entry for each activation, as a function of z."""
    z = torch.from_numpy(COARSE)
    return [
        make_entry(
            name,
            "z",
            a.f,
            a.derivative,
            a.use,
            a.pitfall,
            derivative(pick("model/activation", name).call(), z).numpy() == 0,
        )
        for name, a in ACTIVATIONS.items()
    ]


def losses() -> list[Entry]:
    """Make an entry for each loss of one sample, as a function of its error or one logit."""
    axes = {
        "numbers": "output - target",
        "logits": "logit z, target 1",
        "classes": f"true class's logit, {CLASSES - 1} others 0",
    }
    entries: list[Entry] = []
    for name, kind in LOSSES.items():
        loss = kind()
        value, slope = partial(_value, loss), partial(_slope, loss)
        zero = _torch_slope(name, *_make_samples(loss, COARSE)) == 0
        axis = axes[kind.takes]
        entries.append(make_entry(name, axis, value, slope, kind.use, kind.pitfall, zero))
    return entries


def _torch_slope(name: str, output: Array, target: Array) -> Array:
    """Compute dLoss/doutput[0] of each sample's own loss with torch.

    Args:
        name: name of the loss.
        output: outputs [samples, units], in the dtype to compute in.
        target: targets of the samples.

    Returns:
        The derivatives [samples].
    """
    call = component(choices.load("loss", name), ("scale", "tasks")).call
    out = torch.from_numpy(output).requires_grad_()
    (
        len(output) * call(out, torch.from_numpy(target))
    ).backward()  # the sum over samples, not the mean
    assert out.grad is not None
    return out.grad[:, 0].numpy()


def _value(loss: Loss, x: Array) -> Array:
    return np.array([loss.value(*_make_samples(loss, v)) for v in x[:, None]])


def _slope(loss: Loss, x: Array) -> Array:
    return loss.derivative(*_make_samples(loss, x))[:, 0] * len(x)


def _make_samples(loss: Loss, x: Array) -> tuple[Array, Array]:
    """Return outputs [x, units] and targets with a sample for each x, in the dtype of x."""
    takes = loss.takes
    output = np.zeros((len(x), CLASSES if takes == "classes" else 1), dtype=x.dtype)
    output[:, 0] = x
    if takes == "classes":
        return output, np.zeros(len(x), dtype=np.int64)
    return output, np.full_like(output, takes == "logits")


def _intervals(grid: Array, holds: Array) -> list[tuple[float, float]]:
    """Return the intervals in which a condition holds. At an end of the grid they are infinite."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    last = len(grid) - 1
    return [
        (-np.inf if i == 0 else float(grid[i]), np.inf if j == last else float(grid[j]))
        for i, j in pairs
        if j > i or i in (0, last)
    ]


def atlas_page(
    title: str, introduction: str, entries: Sequence[Entry], symbol: str, derivative: str
) -> Page:
    """Build the page of an atlas.

    Args:
        title: the title of the page.
        introduction: a paragraph below the title.
        entries: the functions.
        symbol: the variable, such as "z".
        derivative: the symbol of the derivative, such as "phi'".

    Returns:
        The page; its figure is "atlas".
    """
    rows = [
        [
            e.name,
            e.steepest_text,
            _intervals_text(e.saturated, symbol),
            _intervals_text(e.zero, symbol),
        ]
        for e in entries
    ]
    headings = [
        "function",
        f"max |{derivative}|",
        "below 5% of the maximum",
        "exactly 0 in torch, float32",
    ]
    sections = [
        Section(
            "Where the gradient passes",
            (),
            PageTable(headings, rows, prose=False),
            figure="atlas",
        )
    ]
    for heading, field in (("Use", "use"), ("Pitfall", "pitfall")):
        table = PageTable(
            ["function", heading.lower()], [[e.name, getattr(e, field)] for e in entries]
        )
        sections.append(Section(heading, (), table))
    return Page(title, sections, [introduction])


def draw(entries: Sequence[Entry], title: str, names: tuple[str, str]) -> Figure:
    """Draw each function and its derivative: grey where it is flat, hatched where it is 0.

    Args:
        entries: the functions.
        title: the title of the figure.
        names: the labels of function and derivative in the legend.

    Returns:
        The figure.
    """
    columns = 4 if len(entries) > 6 else 3
    rows = -(-len(entries) // columns)
    figure, axes = make_axes(rows, columns, 0.9 + 1.7 * rows)
    for ax, each in zip(axes.flat, entries, strict=False):
        _draw_panel(ax, each)
    for ax in axes.flat[len(entries) :]:
        ax.set_visible(False)
    set_title(figure, title)
    add_legend(
        figure,
        [
            Line2D([], [], color=COLOURS[0], ls=LINES[0], label=names[0]),
            Line2D([], [], color=COLOURS[1], ls=LINES[1], label=names[1]),
            Line2D([], [], color=COLOURS[1], marker="o", ls="none", ms=4, label="maximum slope"),
            Patch(facecolor="0.88", label="slope below 5% of the maximum"),
            Patch(facecolor="0.88", hatch="////", edgecolor="0.6", label="slope exactly 0"),
        ],
    )
    return figure


def _draw_panel(ax: Axes, each: Entry) -> None:
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
    maximum = "max " if np.isfinite(each.steepest) else ""
    ax.set_title(f"{each.name}: {maximum}{each.steepest_text}", fontsize=7.5)
    ax.set_xlabel(each.axis, fontsize=6.5)
    ax.tick_params(labelsize=6)


def _intervals_text(intervals: Sequence[tuple[float, float]], symbol: str) -> str:
    parts: list[str] = []
    for low, high in intervals:
        if low == -np.inf:
            parts.append(f"{symbol} <= {high:.3g}")
        elif high == np.inf:
            parts.append(f"{symbol} >= {low:.3g}")
        else:
            parts.append(f"{low:.3g} to {high:.3g}")
    return ", ".join(parts) or "nowhere"


def _activation_atlas() -> tuple[Page, Figure]:
    entries = activations()
    title = "Sigmoid's derivative is at most 0.25, ReLU's is 0 or 1, GELU's and SiLU's can exceed 1"
    introduction = (
        "The backward pass multiplies the error signal by the derivative phi' of each activation. "
        "Where phi' is near 0, a unit passes almost no gradient."
    )
    heading = f"The activations: {title[0].lower()}{title[1:]}"
    page = atlas_page(heading, introduction, entries, "z", "phi'")
    return page, draw(entries, title, ("phi(z)", "phi'(z)"))


def _loss_atlas() -> tuple[Page, Figure]:
    entries = losses()
    title = "Squared error has an unbounded derivative, the other losses a bounded one"
    introduction = (
        "The backward pass starts with the derivative of the loss with respect to the output. Here "
        "x is the error of a regression, the logit of a sample with target 1, or the logit of the "
        f"true class among {CLASSES}."
    )
    heading = f"The losses: {title[0].lower()}{title[1:]}"
    page = atlas_page(heading, introduction, entries, "x", "dLoss/dx")
    return page, draw(entries, title, ("loss of one sample", "its derivative"))


ATLASES = {"activations": _activation_atlas, "losses": _loss_atlas}
