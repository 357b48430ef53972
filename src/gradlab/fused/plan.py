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
    cut = [part for group in groups.values() for part in _parts(group, settings)]
    return sorted(cut)


def entries(settings: Settings) -> int:
    """Return about how many parameters a network has: its hidden layers', and an input's."""
    model = settings.model
    return (model.depth + 1) * model.width * (model.width + 1)


def _key(settings: Settings, index: int) -> str:
    if settings.optim.target not in ELEMENTWISE:
        return str(index)
    return repr(settings.stackable())


def _parts(group: list[int], settings: Sequence[Settings | None]) -> list[list[int]]:
    first = settings[group[0]]
    assert first is not None
    size = members(first)
    number = -(-len(group) // size)
    return [group[k * len(group) // number : (k + 1) * len(group) // number] for k in range(number)]


def members(settings: Settings) -> int:
    """Return how many such networks are trained as one at most."""
    return max(1, min(MOST, ENTRIES // entries(settings)))


MOST = 64
ENTRIES = 2_000_000
"""Of all members together."""
