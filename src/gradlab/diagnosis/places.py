"""Layers as a reader would name them."""

from collections.abc import Sequence


def named(where: Sequence[int]) -> str:
    """Return positions in words; of none, that it is not always the same ones.

    >>> named([1, 2, 3, 7]), named([4]), named([])
    ('layers 1-3, 7', 'layer 4', 'one layer or another')
    """
    runs: list[list[int]] = []
    for position in where:
        if runs and position == runs[-1][-1] + 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    told = ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
    return f"layer{'s' if len(where) > 1 else ''} {told}" if runs else "one layer or another"
