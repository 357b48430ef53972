"""Since when a condition holds, whether it lasts, and at which layers."""

import numpy as np
from numpy.typing import ArrayLike


def since_when(holds: ArrayLike, steps: ArrayLike) -> int | None:
    """Return the first of the steps [S] at which a condition held, if it lasts.

    That is, if it holds in most of the later half: what a network leaves behind as it trains is not
    its sickness.
    """
    holds = np.asarray(holds)
    late = holds[len(holds) // 2 :]
    if not len(late) or late.mean() < 0.5:
        return None
    return int(np.asarray(steps)[holds.argmax()])


def mostly(holds: np.ndarray, positions: np.ndarray) -> tuple[int, ...]:
    """Return the positions [L] at which a condition [S, L] holds in most steps of those it does."""
    often = holds[holds.any(axis=1)].mean(axis=0) >= 0.5
    return tuple(int(position) for position in positions[often])
