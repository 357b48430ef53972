"""What the atlas knows of a function: measured from it, on a grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from gradlab.config import choices
from gradlab.config.choices import component, pick
from gradlab.recording.slopes import derivative
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
        _runs(GRID, flat),
        _runs(COARSE, zero),
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
        zero = _torch_slope(name, *_samples(loss, COARSE)) == 0
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
    return np.array([loss.value(*_samples(loss, v)) for v in x[:, None]])


def _slope(loss: Loss, x: Array) -> Array:
    return loss.derivative(*_samples(loss, x))[:, 0] * len(x)


def _samples(loss: Loss, x: Array) -> tuple[Array, Array]:
    """Return outputs and targets, a sample for each x, in its dtype."""
    takes = loss.takes
    output = np.zeros((len(x), CLASSES if takes == "classes" else 1), dtype=x.dtype)
    output[:, 0] = x
    if takes == "classes":
        return output, np.zeros(len(x), dtype=np.int64)
    return output, np.full_like(output, takes == "logits")


def _runs(grid: Array, holds: Array) -> list[tuple[float, float]]:
    """Return the intervals on which a condition holds; what reaches the grid's end is endless."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    last = len(grid) - 1
    return [
        (-np.inf if i == 0 else float(grid[i]), np.inf if j == last else float(grid[j]))
        for i, j in pairs
        if j > i or i in (0, last)
    ]
