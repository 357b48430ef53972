"""Which steps are recorded."""

import math
from collections.abc import Callable

from gradlab.errors import WatchError

PER_DECADE = 10


def wanted(every: int | str) -> Callable[[int], bool]:
    """Return a function that says of a step whether it is recorded.

    Args:
        every: N for each N-th step; "log" for steps that lie ever further apart, ten a decade: 40
            records in 10,000 steps.

    Raises:
        WatchError: it is neither.

    >>> [step for step in range(40) if wanted("log")(step)]
    [0, 1, 2, 3, 4, 6, 7, 8, 10, 13, 16, 20, 26, 32]
    """
    if every == "log":
        return _logarithmic
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise WatchError(
            f'expected every to be a whole number from 1 on, or "log", given {every!r}'
        )
    return lambda step: step % every == 0


def _logarithmic(step: int) -> bool:
    return step < 2 or _tenths(step) > _tenths(step - 1)


def _tenths(step: int) -> int:
    return math.floor(PER_DECADE * math.log10(step) + 1e-9)
