"""The atlas: every activation and loss with its derivative, where it is flat, and its pitfall."""

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
    """A function of one variable, its derivative, and what to know of it.

    `steepest` is max |f'|, `steepest_at` where (NaN if in no one place), `steepest_said` both in
    words. `saturated` and `zero` are where f' is below 5% of its steepest, and torch's exactly 0 in
    float32, as intervals.
    """

    # attributes: a record, whose fields are what the atlas shows of a function

    name: str
    axis: str
    f: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    use: str
    pitfall: str
    steepest: float
    steepest_at: float
    steepest_said: str
    saturated: Sequence[tuple[float, float]]
    zero: Sequence[tuple[float, float]]


def entry(
    name: str,
    axis: str,
    f: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    use: str,
    pitfall: str,
    zero: Array,
) -> Entry:
    """Return an entry; where it is steep and flat is found on a grid, `zero` is over `COARSE`."""
    slope = np.abs(derivative(GRID))
    steepest, at, said = _steepest(slope)
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
        said,
        _intervals(GRID, flat),
        _intervals(COARSE, zero),
    )


def _steepest(slope: Array) -> tuple[float, float, str]:
    """Return the greatest slope on the grid, where it is, and both in words."""
    largest = float(slope.max())
    if largest > 1.5 * slope[np.abs(GRID) <= GRID[-1] / 2].max():
        return np.inf, np.nan, "unbounded"
    among = GRID[slope >= largest * (1 - 1e-12)]
    at = float(among[np.abs(among).argmin()])
    if len(among) == len(GRID):
        return largest, np.nan, f"{largest:.4g} everywhere"
    if abs(at) > SHOWN:
        return largest, np.nan, f"{largest:.4g} towards {'-' if at < 0 else ''}∞"
    below, above = among[0] == GRID[0], among[-1] == GRID[-1]
    where = "beyond ±" if below and above else "from " if above else "at "
    return largest, at, f"{largest:.4g} {where}{round(abs(at) if below else at, 2):g}"


def activations() -> list[Entry]:
    """Return an entry for each activation, over z."""
    z = torch.from_numpy(COARSE)
    return [
        entry(
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
    """Return an entry for each loss of one sample, over its output or its true class's logit."""
    axes = {
        "numbers": "output - target",
        "logits": "logit z, target 1",
        "classes": f"true class's logit, {CLASSES - 1} others 0",
    }
    out: list[Entry] = []
    for name, kind in LOSSES.items():
        loss = kind()
        value, slope = partial(_value, loss), partial(_slope, loss)
        zero = _torch_slope(name, *_make_samples(loss, COARSE)) == 0
        out.append(entry(name, axes[kind.takes], value, slope, kind.use, kind.pitfall, zero))
    return out


def _torch_slope(name: str, output: Array, target: Array) -> Array:
    """Return torch's dLoss/doutput[0] of each sample on its own, in the dtype given."""
    call = component(choices.load("loss", name), ("scale", "tasks")).call
    out = torch.from_numpy(output).requires_grad_()
    (len(output) * call(out, torch.from_numpy(target))).backward()  # a sum, not a mean
    assert out.grad is not None
    return out.grad[:, 0].numpy()


def _value(loss: Loss, x: Array) -> Array:
    return np.array([loss.value(*_make_samples(loss, v)) for v in x[:, None]])


def _slope(loss: Loss, x: Array) -> Array:
    return loss.derivative(*_make_samples(loss, x))[:, 0] * len(x)


def _make_samples(loss: Loss, x: Array) -> tuple[Array, Array]:
    """Return outputs and targets, a sample for each x, in its dtype."""
    takes = loss.takes
    output = np.zeros((len(x), CLASSES if takes == "classes" else 1), dtype=x.dtype)
    output[:, 0] = x
    if takes == "classes":
        return output, np.zeros(len(x), dtype=np.int64)
    return output, np.full_like(output, takes == "logits")


def _intervals(grid: Array, holds: Array) -> list[tuple[float, float]]:
    """Return the intervals on which a condition holds; what reaches the grid's end is endless."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    last = len(grid) - 1
    return [
        (-np.inf if i == 0 else float(grid[i]), np.inf if j == last else float(grid[j]))
        for i, j in pairs
        if j > i or i in (0, last)
    ]


def atlas_page(title: str, entries: Sequence[Entry], symbol: str, derivative: str) -> Page:
    """Return the atlas in words."""
    rows = [
        [
            e.name,
            e.steepest_said,
            _interval_words(e.saturated, symbol),
            _interval_words(e.zero, symbol),
        ]
        for e in entries
    ]
    headings = ["", f"max |{derivative}|", "below 5% of it", "exactly 0 in torch, float32"]
    sections = [
        Section(
            "Where the gradient gets through",
            (),
            PageTable(headings, rows, prose=False),
            figure="atlas",
        )
    ]
    for heading, said in (("When to use it", "use"), ("In floating point", "pitfall")):
        table = PageTable(["", ""], [[e.name, getattr(e, said)] for e in entries])
        sections.append(Section(heading, (), table))
    return Page(title, sections)


def draw(entries: Sequence[Entry], title: str, names: tuple[str, str]) -> Figure:
    """Draw each function and its derivative; grey where it is flat, hatched where it is 0."""
    columns = 4 if len(entries) > 6 else 3
    rows = -(-len(entries) // columns)
    figure, axes = make_axes(rows, columns, 0.9 + 1.7 * rows)
    for ax, each in zip(axes.flat, entries, strict=False):
        _panel(ax, each)
    for ax in axes.flat[len(entries) :]:
        ax.set_visible(False)
    set_title(figure, title)
    add_legend(
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


def _interval_words(intervals: Sequence[tuple[float, float]], symbol: str) -> str:
    words: list[str] = []
    for low, high in intervals:
        if low == -np.inf:
            words.append(f"{symbol} <= {high:.3g}")
        elif high == np.inf:
            words.append(f"{symbol} >= {low:.3g}")
        else:
            words.append(f"{low:.3g} to {high:.3g}")
    return ", ".join(words) or "nowhere"


def _activation_atlas() -> tuple[Page, Figure]:
    entries = activations()
    title = (
        "Sigmoid's derivative is never above 0.25; ReLU's is 0 or 1; GELU's and SiLU's overshoot 1"
    )
    words = atlas_page(f"The activations: {title[0].lower()}{title[1:]}", entries, "z", "phi'")
    return words, draw(entries, title, ("phi(z)", "phi'(z)"))


def _loss_atlas() -> tuple[Page, Figure]:
    entries = losses()
    title = "Squared error pulls without bound, the others do not; focal lets go of what is right"
    words = atlas_page(f"The losses: {title[0].lower()}{title[1:]}", entries, "x", "dLoss/dx")
    return words, draw(entries, title, ("loss of one sample", "its derivative"))


ATLASES = {"activations": _activation_atlas, "losses": _loss_atlas}
