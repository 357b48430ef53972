"""Which jobs share a stack: a pure function of their settings.

A stack saves what every operation costs whatever its size, once for all its members. Where the
operations are large there is nothing to save, and a stack falls out of the processor's cache.
"""

from collections.abc import Sequence

from gradlab.settings import Settings

ELEMENTWISE = frozenset(
    f"torch.optim.{name}"
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam")
)
"""Optimisers whose update of an entry depends on no other entry: members do not mix."""


def stacks(settings: Sequence[Settings | None]) -> list[list[int]]:
    """Return the jobs, by index, of each stack, in the order of their first; None is left out."""
    groups: dict[str, list[int]] = {}
    for index, each in enumerate(settings):
        if each is not None:
            groups.setdefault(_key(each, index), []).append(index)
    return sorted((part for group in groups.values() for part in _parts(group, settings)), key=min)


def _key(settings: Settings, index: int) -> str:
    if settings.optim.target not in ELEMENTWISE:
        return str(index)
    return repr(settings.stackable())


def _parts(group: list[int], settings: Sequence[Settings | None]) -> list[list[int]]:
    """Cut a group evenly; those that are too few, or too large, are alone."""
    first = settings[group[0]]
    assert first is not None
    size = members(first)
    if size < FIT or len(group) < LEAST:
        return [[index] for index in group]
    group.sort(key=lambda index: _kin(settings[index]))  # their rows are then next to each other
    number = -(-len(group) // size)
    return [group[k * len(group) // number : (k + 1) * len(group) // number] for k in range(number)]


def _kin(settings: Settings | None) -> str:
    return "" if settings is None else repr(settings.clip)


def members(settings: Settings) -> int:
    """Return how many networks of a kind may be trained as one."""
    model = settings.model
    parameters = (model.depth + 1) * model.width * (model.width + 1)  # about, whatever the data
    return min(MOST, ENTRIES // parameters)


LEAST, MOST, FIT = 4, 64, 8
ENTRIES = 1_300_000
"""Parameters of all members together, at most.

Milliseconds that a step takes for each member, of M, relu, batches of 64, a record every ten steps,
one thread (benchmarks/launcher.py stack):

    depth  width  parameters   M=1     2     4     8    16    32    64
        5     16       2,298  0.95  1.24  0.70  0.38  0.24  0.17  0.13
        5     64      21,450  1.26  1.62  1.10  0.77  0.68  0.66  0.60
       20     64      83,850  3.21  4.43  3.16  2.42  2.21  2.18  2.47
        5    128      75,658  1.90  2.50  1.95  1.68  1.59  1.65  1.75
        5    256     282,378  4.15  5.84  5.70  5.71  5.52  7.62  8.86

A stack costs a pass through vmap, which two or three members do not earn; beyond a million entries
nothing more is gained; and a network of which fewer than eight fit gains nothing at all.
"""
