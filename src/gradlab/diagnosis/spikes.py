"""Spikes of the loss: a sudden rise, judged by the spread of the steps before it."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gradlab.diagnosis.advice import SMALLER_RATE
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import join_sentence

WINDOW = 128  # recorded steps before a step; the length that OLMo's trainer uses
FEWEST = 20  # steps in the window that are needed for a judgement
NORMAL = 1.349  # interquartile range of a normal variable over its standard deviation
LASTING = 3  # consecutive recorded steps; a batch with an outlier raises the loss for one
BEFORE = 10  # steps before the spike in which a gradient may have risen first
LAYERS = 3  # layers that a finding names; if more rose at once, none is the first


class Level(NamedTuple):
    """The usual level of a quantity in the window before each step.

    Attributes:
        middle: Median [S]; NaN where the window has fewer than `FEWEST` finite values.
        spread: Standard deviation, estimated by the interquartile range [S].
    """

    middle: np.ndarray
    spread: np.ndarray


def usual_level(values: np.ndarray, window: int = WINDOW) -> Level:
    """Return the usual level of a quantity before each step.

    Median and interquartile range hardly change if a quarter of the values in the window are
    outliers (Huber 1981, section 5.1).

    Args:
        values: A quantity by step [S]; NaN and inf are ignored.
        window: Number of steps.

    Returns:
        Median and spread over the `window` steps before each step, which is not included.

    Example:
        >>> float(usual_level(np.tile([1.0, 2.0, 3.0], 20)).middle[-1])
        2.0
    """
    finite = pd.Series(np.where(np.isfinite(values), values, np.nan))
    before = finite.shift().rolling(window, min_periods=FEWEST)
    spread = (before.quantile(0.75) - before.quantile(0.25)) / NORMAL
    return Level(before.median().to_numpy(), spread.to_numpy())


def height(values: np.ndarray, level: Level) -> np.ndarray:
    """Return by how many standard deviations each value is above its level [S].

    Rounding errors of a constant quantity are not a rise: the spread is at least 1e-6 of the level.
    """
    spread = np.maximum(level.spread, 1e-6 * np.abs(level.middle))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (values - level.middle) / spread


def find_spikes(values: np.ndarray, sigmas: float) -> list[int]:
    """Return the steps at which a quantity rises above its usual level and stays there for a while.

    Args:
        values: A quantity by step [S].
        sigmas: Height of a spike in standard deviations.

    Returns:
        Indices of the first step of each spike. Its first step is `sigmas` above the level, and the
        next two are at least half as high.

    Example:
        >>> loss = np.tile([1.0, 1.1], 30)
        >>> loss[40:44] = 5
        >>> find_spikes(loss, sigmas=6)
        [40]
    """
    level = usual_level(values)
    high = height(values, level) >= sigmas
    found: list[int] = []
    for start in np.flatnonzero(high):
        if found and start < _end(values, level, found[-1]):
            continue
        later = values[start + 1 : start + LASTING]
        bar = level.middle[start] + sigmas / 2 * level.spread[start]
        if len(later) == LASTING - 1 and (later >= bar).all():
            found.append(int(start))
    return found


def spike(record: Record) -> Finding | None:
    """Find the highest spike of the loss with a spike of the gradient norm.

    The severity is "note" if the loss returned to its level, else "mild".

    Returns:
        The finding, or None.
    """
    loss, sigmas = record.over_steps("loss"), record.limit("spike")
    values, steps = loss.to_numpy(), loss.index.to_numpy()
    norms = record.over_steps("grad_norm").reindex(steps).to_numpy()
    rises = height(norms, usual_level(norms)) >= sigmas
    found = [i for i in find_spikes(values, sigmas) if rises[max(i - BEFORE, 0) : i + 2].any()]
    if not found:
        return None
    level = usual_level(values)
    start = max(found, key=lambda i: float(height(values, level)[i]))
    end, middle = _end(values, level, start), float(level.middle[start])
    after = values[start:end]
    peak = float(after[np.isfinite(after)].max())
    returned = end < len(values)
    outcome = (
        f"returns at step {steps[end]}" if returned else f"has not returned by step {steps[-1]}"
    )
    more = f"; it spikes {len(found)} times" if len(found) > 1 else ""
    where = _rose_first(record, int(steps[start]), sigmas)
    return Finding(
        kind="spike",
        where=where,
        since=int(steps[start]),
        severity="note" if returned else "mild",
        cause=join_sentence(
            f"the loss spikes from {middle:.2g} to {peak:.2g} and {outcome}{more}",
            f"the gradient of {record.layers_text(where)} rose first" if where else "",
        ),
        evidence={"spikes": float(len(found)), "level": middle, "peak": peak},
        remedies=("clip=norm", SMALLER_RATE),
    )


def _end(values: np.ndarray, level: Level, start: int) -> int:
    """Return the first index after a spike at which the quantity is near its old level.

    Args:
        values: The quantity [S].
        level: Its usual level.
        start: Index of the spike's first step.

    Returns:
        The index; S if the quantity has not returned.
    """
    near = values[start:] <= level.middle[start] + 2 * level.spread[start]
    return start + int(near.argmax()) if near.any() else len(values)


def _rose_first(record: Record, step: int, sigmas: float) -> tuple[int, ...]:
    """Return the layers whose weight gradient spiked first, at a spike of the loss or just before.

    Args:
        record: The run.
        step: First step of the spike.
        sigmas: Height of a spike in standard deviations.

    Returns:
        Positions of at most `LAYERS` layers; none if more rose at the same step.
    """
    grid = record.depth
    norms = grid["weight_grad_norm"]
    rows = (grid.steps >= step - BEFORE) & (grid.steps <= step)
    high = np.column_stack([height(n, usual_level(n))[rows] >= sigmas for n in norms.T])
    if not high.any():
        return ()
    first = high[high.any(axis=1).argmax()]
    return tuple(map(int, grid.positions[first])) if first.sum() <= LAYERS else ()
