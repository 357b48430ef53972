"""Plans which runs train together as one stack, from their settings.

Each tensor operation has a fixed cost, which a stack pays once for all its members. For large
operations a stack saves nothing, and it may not fit into the processor's cache. With several
workers, the plan also cuts stacks, so that each worker gets some.
"""

import heapq
from collections.abc import Sequence

from gradlab.config.settings import Settings
from gradlab.training.optimizer import is_elementwise

Jobs = Sequence[Settings | None]


def plan_stacks(settings: Jobs, workers: int = 1) -> list[list[int]]:
    """Divide jobs into stacks.

    Args:
        settings: Settings of each job; None for a job that is left out.
        workers: Number of workers.

    Returns:
        The indices of the jobs of each stack, in the order in which workers start them: for one
        worker, in the order of their first jobs; for several, the most expensive stack first.
    """
    by_key: dict[str, list[int]] = {}
    for index, each in enumerate(settings):
        if each is not None:
            by_key.setdefault(_key(each, index), []).append(index)
    groups = list(by_key.values())
    if workers == 1:
        return sorted((part for group in groups for part in _cut(group, settings)), key=min)
    whole = sum(estimate_cost(settings, group) for group in groups)
    plans = [
        [part for group in groups for part in _cut(group, settings, whole / workers / fineness)]
        for fineness in (1, 2, 3)
    ]
    parts = min(
        plans,
        key=lambda plan: estimate_duration(
            [estimate_cost(settings, part) for part in plan], workers
        ),
    )
    return sorted(parts, key=lambda part: -estimate_cost(settings, part))


def estimate_cost(settings: Jobs, part: Sequence[int]) -> float:
    """Estimate the time to train some jobs as one stack, in arbitrary units."""
    first = settings[part[0]]
    assert first is not None
    layers = first.model.depth + 1
    return first.train.steps * (len(part) * count_parameters(first) + LAYER * layers)


def estimate_duration(costs: Sequence[float], workers: int) -> float:
    """Return the time until all workers finish, most expensive part first (Graham 1969)."""
    ends = [0.0] * workers
    for each in sorted(costs, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _key(settings: Settings, index: int) -> str:
    """Return a text that is equal for jobs that may share a stack."""
    if not is_elementwise(settings.optim):  # members would be updated one by one
        return str(index)
    return repr(settings.stackable())


def _cut(group: list[int], settings: Jobs, limit: float = float("inf")) -> list[list[int]]:
    """Cut a group into parts of nearly equal size.

    Args:
        group: Indices of jobs that may share a stack.
        settings: Settings of each job.
        limit: Cost that a part should not exceed.

    Returns:
        The parts. If the group is small or its networks are large, each job is a part.
    """
    first = settings[group[0]]
    assert first is not None
    size = max_members(first)
    if size < FIT or len(group) < LEAST:
        return [[index] for index in group]
    # Members with equal clipping and learning rate become neighbours.
    group = sorted(group, key=lambda index: _clip_and_rate(settings[index]))
    number = max(-(-len(group) // size), int(-(-estimate_cost(settings, group) // limit)))
    number = max(1, min(number, len(group) // LEAST))
    return [group[k * len(group) // number : (k + 1) * len(group) // number] for k in range(number)]


def _clip_and_rate(settings: Settings | None) -> str:
    return "" if settings is None else repr((settings.clip, settings.optim.params.get("lr")))


def max_members(settings: Settings) -> int:
    """Return the maximal number of members of a stack of such networks."""
    most = MOST if settings.model.reads == "flat" else MOST_SHAPED
    return min(most, ENTRIES // count_parameters(settings))


def count_parameters(settings: Settings) -> int:
    """Return the approximate number of parameters of a network, without regard to the data."""
    model = settings.model
    return (model.depth + 1) * model.width * (model.width + 1)


LAYER = 4_000
"""Fixed cost of a layer, in the cost of one parameter."""
LEAST, MOST = 4, 64
"""Smallest and largest number of members of a stack."""
MOST_SHAPED = 16
"""Largest number for networks of sequences or images, which store each step or position.

64 LSTMs of 100 steps need 4.8 GB, 16 need 1.5 GB and take 10% longer per member and step.
"""
FIT = 8
"""A stack is worth its cost only if at least this many members fit into `ENTRIES`."""
ENTRIES = 5_000_000
"""Largest number of parameters of all members together.

Processor time of a step for each of M members, in ms (relu, batches of 64, every tenth step
recorded, one thread; `python benchmarks/stack.py`):

    depth  width  parameters   M=1    M=4    M=8    M=16   M=23   M=40   M=64
        5     16       2,298   0.89   0.52   0.29   0.17   0.14   0.10   0.08
        5     64      21,450   1.05   0.64   0.42   0.29   0.23   0.21   0.20
       20     64      83,850   2.30   1.51   1.04   0.90   0.72   0.75   0.79
       50     64     208,650   5.12   3.64   2.83   2.43   2.21   2.34   2.43
        5    128      75,658   1.50   0.98   0.69   0.57   0.54   0.52   0.56
        5    256     282,378   2.63   1.92   1.70   1.71   1.80   1.97   2.01

Two or three members do not save the cost of vmap. Beyond about five million parameters, more
members save nothing. If fewer than eight members fit, they save little.
"""
