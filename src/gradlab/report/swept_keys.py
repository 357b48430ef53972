"""The keys that a sweep varied, the names of its settings, and the role of each key in a figure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd

from gradlab.results.load import hashable

FIRST = ("model.depth", "model.activation", "model.init", "clip", "model.norm", "model")
"""The order in which figures use the keys; others follow by name."""
UNSET = "unset"  # null, or a key that the choice does not have


def varied_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the configuration keys that differ between runs, without `seed`.

    What comes with a choice of its group (`clip.max_norm` with `clip=norm`, a GRU's
    `model.norm_position` with `model=gru`) counts only if it differs within one choice, but for the
    keys that figures are made of. None is a value like any other: `model.init_gain=null,3` varies
    the gain.
    """
    keys: list[str] = []
    every = sorted({key for config in configs for key in config})
    for key in every:
        if key == "seed" or key.startswith("tracking"):
            continue
        group = key.split(".")[0]
        of_choice = group != key and group in every
        if of_choice and key not in FIRST:
            differs = _within_a_choice(configs, group, key)
        else:
            present = [hashable(config[key]) for config in configs if key in config]
            differs = len(set(present)) > 1 or (len(present) < len(configs) and not of_choice)
        if differs:
            keys.append(key)
    order = {key: index for index, key in enumerate(FIRST)}
    return sorted(keys, key=lambda key: order.get(key, len(order)))


def _within_a_choice(configs: Sequence[Mapping[str, Any]], group: str, key: str) -> bool:
    """Say whether runs of one choice of a group differ in a key."""
    values: dict[Any, set[Any]] = defaultdict(set)
    for config in configs:
        if key in config:
            values[hashable(config.get(group))].add(hashable(config[key]))
    return any(len(found) > 1 for found in values.values())


def fill_unset(frame: pd.DataFrame, keys: Iterable[str]) -> pd.DataFrame:
    """Return the frame with "unset" for what is missing in `keys`: a setting to group by."""
    missing = [key for key in keys if frame[key].isna().any()]
    return frame.assign(
        **{key: frame[key].astype(object).where(frame[key].notna(), UNSET) for key in missing}
    )


def short_key(key: str) -> str:
    """Return what a reader needs of a key: `init` of `model.init`."""
    return key.split(".")[-1]


def format_value(value: object) -> str:
    """Return a value as a user would type it: 3, not the 3.0 of a column with a gap."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e6
    return f"{value:.0f}" if whole else str(value)


def levels(values: pd.Series) -> list[object]:
    """Return the distinct values, numbers in order of size, names as they first come."""
    found = list(dict.fromkeys(values))
    if all(isinstance(v, Real) for v in found):
        return sorted(found)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    return found


def setting_label(row: pd.Series, keys: list[str]) -> str:
    """Return the name of a setting: `depth 50, sigmoid, default, clip none`."""
    words = [
        format_value(row[key])
        if _speaks(key, row[key])
        else f"{short_key(key)} {format_value(row[key])}"
        for key in keys
    ]
    return ", ".join(words) or "this run"


def _speaks(key: str, value: object) -> bool:
    """Say whether a value is a name that needs no key beside it."""
    if key in ("clip", "model.norm") or value == UNSET:
        return False
    return isinstance(value, str) and value.isidentifier()


MOST_LEVELS = {"column": 4, "row": 6, "colour": 8, "line": 4}


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
            return format_value(value)
        return f"{short_key(self.key)} {format_value(value)}"


def assign_roles(frame: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, dict[str, Role]]:
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
            frame[role] = (
                frame[joined[0]] if one else [", ".join(map(format_value, r)) for r in rows]
            )
        found = levels(frame[role])
        kept = _spread(found, MOST_LEVELS[role])
        roles[role] = Role(", ".join(joined), kept, len(found) - len(kept))
    return frame, roles


def describe_left_out(roles: dict[str, Role]) -> str:
    """Say which levels a figure could not hold; empty if it holds them all."""
    told = [f"{role.left_out} of {role.key}" for role in roles.values() if role.left_out]
    return f" (not drawn: {', '.join(told)}; see tables/)" if told else ""


def _spread(values: list[object], limit: int) -> list[object]:
    """Return at most `limit` values, the first and the last among them."""
    if len(values) <= limit:
        return values
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]
