"""Find the keys that a sweep varied, name its settings, and choose how a figure shows each key."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd

from gradlab.results.load import hashable

FIRST = ("model.depth", "model.activation", "model.init", "clip", "model.norm", "model")
"""Figures use the keys in this order; other keys follow by name."""
UNSET = "unset"  # for null, and for a key that the chosen group option does not have

LONGEST = 24
"""Characters of the longest value in a figure; longer values lose their middle."""


def varied_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Find the configuration keys that differ between runs, without `seed`.

    A group option brings keys with it: `clip=norm` brings `clip.max_norm`. Such a key counts as
    varied only if it differs between runs with the same option. The keys in `FIRST` always count.
    null is a value: `model.init_gain=null,3` varies the gain.

    Args:
        configs: the configuration of each run.

    Returns:
        The keys, in the order of `FIRST`.
    """
    keys: list[str] = []
    every = sorted({key for config in configs for key in config})
    for key in every:
        if key == "seed" or key.startswith("tracking"):
            continue
        group = key.split(".")[0]
        in_group = group != key and group in every
        if in_group and key not in FIRST:
            differs = _differs_within_option(configs, group, key)
        else:
            present = [hashable(config[key]) for config in configs if key in config]
            differs = len(set(present)) > 1 or (len(present) < len(configs) and not in_group)
        if differs:
            keys.append(key)
    order = {key: index for index, key in enumerate(FIRST)}
    return sorted(keys, key=lambda key: order.get(key, len(order)))


def _differs_within_option(configs: Sequence[Mapping[str, Any]], group: str, key: str) -> bool:
    """Return whether runs with the same option of a group differ in a key.

    Args:
        configs: the configuration of each run.
        group: a Hydra group, such as `clip`.
        key: a key of the group, such as `clip.max_norm`.

    Returns:
        Whether the key differs.
    """
    values: dict[Any, set[Any]] = defaultdict(set)
    for config in configs:
        if key in config:
            values[hashable(config.get(group))].add(hashable(config[key]))
    return any(len(distinct) > 1 for distinct in values.values())


def fill_unset(frame: pd.DataFrame, keys: Iterable[str]) -> pd.DataFrame:
    """Replace missing values of `keys` by "unset", so that rows can be grouped by them."""
    missing = [key for key in keys if frame[key].isna().any()]
    return frame.assign(
        **{key: frame[key].astype(object).where(frame[key].notna(), UNSET) for key in missing}
    )


def short_key(key: str) -> str:
    """Return the last part of a key: `init` of `model.init`."""
    return key.split(".")[-1]


def format_value(value: object) -> str:
    """Return a value as a user would type it: `3`, also where a column with a gap has 3.0."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e6
    text = f"{value:.0f}" if whole else str(value)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[-half + 1 :]}"


def levels(values: pd.Series) -> list[object]:
    """Return the distinct values: numbers by size, names in order of appearance."""
    distinct = list(dict.fromkeys(values))
    if all(isinstance(v, Real) for v in distinct):
        return sorted(distinct)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    return distinct


def setting_label(row: pd.Series, keys: list[str]) -> str:
    """Name a setting: `depth 50, sigmoid, default, clip none`."""
    words = [
        format_value(row[key])
        if _is_clear_alone(key, row[key])
        else f"{short_key(key)} {format_value(row[key])}"
        for key in keys
    ]
    return ", ".join(words) or "this run"


def _is_clear_alone(key: str, value: object) -> bool:
    """Return whether a reader understands a value without its key: `sigmoid`, but not `3`."""
    if key in ("clip", "model.norm") or value == UNSET:
        return False
    return isinstance(value, str) and value.isidentifier()


MOST_LEVELS = {"column": 4, "row": 6, "colour": 8, "line": 4}


@dataclass(frozen=True)
class Role:
    """The levels of a key that a figure draws in one way, such as one colour for each.

    Attributes:
        key: the key, or several keys joined by commas; "" for none.
        values: the levels that are drawn.
        left_out: number of levels for which the figure has no space.
    """

    key: str
    values: list[object]
    left_out: int

    def name(self, value: object) -> str:
        """Return the label of a level in a legend or above a panel."""
        # The value alone is clear for joined keys, for activations and for remedies.
        if not self.key or "," in self.key or self.key in ("model.activation", "remedy"):
            return format_value(value)
        return f"{short_key(self.key)} {format_value(value)}"


def assign_roles(frame: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, dict[str, Role]]:
    """Assign keys to the columns and rows of panels, to colours and to line styles.

    Keys after the fourth are joined with the colour's key.

    Args:
        frame: rows with a column for each key.
        keys: the swept keys; the first one becomes the columns. A single key becomes the colour.

    Returns:
        The frame with the columns "column", "row", "colour" and "line"; and the roles by these
        names.
    """
    names = ["column", "row", "colour", "line"]
    assigned: dict[str, list[str]] = {role: [] for role in names}
    if len(keys) == 1:
        assigned["colour"] = list(keys)
    else:
        for index, key in enumerate(keys):
            assigned[names[index] if index < 4 else "colour"].append(key)
    frame = frame.copy()
    roles: dict[str, Role] = {}
    for role, joined in assigned.items():
        if not joined:
            frame[role] = ""
        else:
            rows = frame[joined].itertuples(index=False)
            one = len(joined) == 1
            frame[role] = (
                frame[joined[0]] if one else [", ".join(map(format_value, r)) for r in rows]
            )
        every = levels(frame[role])
        drawn = _spread(every, MOST_LEVELS[role])
        roles[role] = Role(", ".join(joined), drawn, len(every) - len(drawn))
    return frame, roles


def describe_left_out(roles: dict[str, Role]) -> str:
    """Return a note for the title: how many levels are not drawn; "" if all are drawn."""
    parts = [f"{role.left_out} of {role.key}" for role in roles.values() if role.left_out]
    return f" (not drawn: {', '.join(parts)}; see tables/)" if parts else ""


def _spread(values: list[object], limit: int) -> list[object]:
    """Return at most `limit` values, evenly spaced, with the first and the last."""
    if len(values) <= limit:
        return values
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]
