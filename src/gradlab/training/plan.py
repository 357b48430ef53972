"""Plans which runs train as one stack, from their settings.

A stack saves what every operation costs whatever its size, once for all its members. Where the
operations are large there is nothing to save, and a stack falls out of the processor's cache.
Several workers share the stacks, so a stack is also cut where one would have all and another none.
"""

import heapq
from collections.abc import Sequence

from gradlab.config.settings import Settings
from gradlab.training.optimizer import is_elementwise

Jobs = Sequence[Settings | None]


def stacks(settings: Jobs, workers: int = 1) -> list[list[int]]:
    """Return the jobs, by index, of each stack; None is left out.

    One worker begins with the stack of the first job, several with the one that takes longest.
    """
    groups: dict[str, list[int]] = {}
    for index, each in enumerate(settings):
        if each is not None:
            groups.setdefault(_key(each, index), []).append(index)
    of = list(groups.values())
    if workers == 1:
        return sorted((part for group in of for part in _cut(group, settings)), key=min)
    whole = sum(cost(settings, group) for group in of)
    plans = [
        [part for group in of for part in _cut(group, settings, whole / workers / fineness)]
        for fineness in (1, 2, 3)
    ]
    parts = min(plans, key=lambda plan: duration([cost(settings, part) for part in plan], workers))
    return sorted(parts, key=lambda part: -cost(settings, part))


def cost(settings: Jobs, part: Sequence[int]) -> float:
    """Return about how long it takes to train some jobs together, in units of their own."""
    first = settings[part[0]]
    assert first is not None
    layers = first.model.depth + 1
    return first.train.steps * (len(part) * parameters(first) + LAYER * layers)


def duration(costs: Sequence[float], workers: int) -> float:
    """Return how long workers take that begin with the longest part (Graham 1969)."""
    ends = [0.0] * workers
    for each in sorted(costs, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _key(settings: Settings, index: int) -> str:
    if not is_elementwise(settings.optim):  # each member is updated separately: nothing is saved
        return str(index)
    return repr(settings.stackable())


def _cut(group: list[int], settings: Jobs, most: float = float("inf")) -> list[list[int]]:
    """Cut a group evenly in parts that cost at most so much; too few, or too large, are alone."""
    first = settings[group[0]]
    assert first is not None
    size = members(first)
    if size < FIT or len(group) < LEAST:
        return [[index] for index in group]
    group = sorted(group, key=lambda index: _kin(settings[index]))  # their rows are then neighbours
    number = max(-(-len(group) // size), int(-(-cost(settings, group) // most)))
    number = max(1, min(number, len(group) // LEAST))
    return [group[k * len(group) // number : (k + 1) * len(group) // number] for k in range(number)]


def _kin(settings: Settings | None) -> str:
    return "" if settings is None else repr((settings.clip, settings.optim.params.get("lr")))


def members(settings: Settings) -> int:
    """Return how many networks of a kind may be trained as one."""
    most = MOST if settings.model.reads == "flat" else MOST_SHAPED
    return min(most, ENTRIES // parameters(settings))


def parameters(settings: Settings) -> int:
    """Return about how many a network has, whatever the data."""
    model = settings.model
    return (model.depth + 1) * model.width * (model.width + 1)


LAYER = 4_000
"""Parameters that cost as much as a layer does by being one."""
MOST_SHAPED = 16
"""Networks of sequences or images, which keep what happens at each step or position.

100 steps of 64 LSTMs need 4.8 GB, of 16 of them 1.5 GB, and a step takes each 10% longer.
"""
LEAST, MOST, FIT = 4, 64, 8
ENTRIES = 5_000_000
"""Parameters of all members together, at most.

Milliseconds of processor time that a step takes for each of M members (relu, batches of 64, one
step of ten recorded, one thread; `python benchmarks/stack.py`):

    depth  width  parameters   M=1    M=4    M=8    M=16   M=23   M=40   M=64
        5     16       2,298   0.89   0.52   0.29   0.17   0.14   0.10   0.08
        5     64      21,450   1.05   0.64   0.42   0.29   0.23   0.21   0.20
       20     64      83,850   2.30   1.51   1.04   0.90   0.72   0.75   0.79
       50     64     208,650   5.12   3.64   2.83   2.43   2.21   2.34   2.43
        5    128      75,658   1.50   0.98   0.69   0.57   0.54   0.52   0.56
        5    256     282,378   2.63   1.92   1.70   1.71   1.80   1.97   2.01

A stack costs a pass through vmap, which two or three members do not earn; beyond some five million
entries nothing more is gained; and of a network that large that fewer than eight fit, little.
"""
