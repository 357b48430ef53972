"""Which varied key becomes the columns, the rows, the colours and the line styles of a figure."""

from dataclasses import dataclass

import pandas as pd

from gradlab.report.settings import levels, short, word

LIMITS = {"column": 4, "row": 6, "colour": 8, "line": 4}


@dataclass(frozen=True)
class Role:
    """A key, or several joined into one, and the levels of it that are drawn.

    `left_out` counts the levels beyond what a figure can hold.
    """

    key: str
    values: list[object]
    left_out: int

    def name(self, value: object) -> str:
        """Return what a legend or a panel says of a level."""
        # Of joined keys, of an activation and of a remedy, the value says enough.
        if not self.key or "," in self.key or self.key in ("model.activation", "remedy"):
            return word(value)
        return f"{short(self.key)} {word(value)}"


def assign(frame: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, dict[str, Role]]:
    """Give each key a role in turn; keys beyond the fourth are joined into the colour.

    Returns:
        The frame with a column per role, and the roles.
    """
    first = ["column", "row", "colour", "line"]
    given: dict[str, list[str]] = {role: [] for role in first}
    if len(keys) == 1:
        given["colour"] = list(keys)
    else:
        for index, key in enumerate(keys):
            given[first[index] if index < 4 else "colour"].append(key)
    frame = frame.copy()
    roles: dict[str, Role] = {}
    for role, joined in given.items():
        if not joined:
            frame[role] = ""
        else:
            rows = frame[joined].itertuples(index=False)
            one = len(joined) == 1
            frame[role] = frame[joined[0]] if one else [", ".join(map(word, r)) for r in rows]
        found = levels(frame[role])
        kept = _spread(found, LIMITS[role])
        roles[role] = Role(", ".join(joined), kept, len(found) - len(kept))
    return frame, roles


def left_out(roles: dict[str, Role]) -> str:
    """Say which levels a figure could not hold; empty if it holds them all."""
    told = [f"{role.left_out} of {role.key}" for role in roles.values() if role.left_out]
    return f" (not drawn: {', '.join(told)}; see tables/)" if told else ""


def _spread(values: list[object], limit: int) -> list[object]:
    """Return at most `limit` values, the first and the last among them."""
    if len(values) <= limit:
        return values
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]
