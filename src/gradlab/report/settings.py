"""Which keys a sweep varied, and what to call a setting: all of them but the seed."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import pandas as pd

from gradlab.store.load import hashable

FIRST = ("model.depth", "model.activation", "model.init", "clip", "model.norm", "model")
"""The order in which figures use the keys; others follow by name."""
UNSET = "unset"  # null, or a key that the choice does not have


def varied(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the configuration keys that differ between runs, without `seed`.

    A key that only some choices of a group have (`clip.max_norm`) counts only if its values differ
    where it is present. None is a value like any other: `model.init_gain=null,3` varies the gain.
    """
    keys: list[str] = []
    every = sorted({key for config in configs for key in config})
    for key in every:
        if key == "seed" or key.startswith("tracking"):
            continue
        present = [hashable(config[key]) for config in configs if key in config]
        group = key.split(".")[0]
        optional = group != key and group in every
        if len(set(present)) > 1 or (len(present) < len(configs) and not optional):
            keys.append(key)
    order = {key: index for index, key in enumerate(FIRST)}
    return sorted(keys, key=lambda key: order.get(key, len(order)))


def filled(frame: pd.DataFrame, keys: Iterable[str]) -> pd.DataFrame:
    """Return the frame with "unset" for what is missing in `keys`: a setting to group by."""
    missing = [key for key in keys if frame[key].isna().any()]
    return frame.assign(
        **{key: frame[key].astype(object).where(frame[key].notna(), UNSET) for key in missing}
    )


def short(key: str) -> str:
    """Return what a reader needs of a key: `init` of `model.init`."""
    return key.split(".")[-1]


def word(value: object) -> str:
    """Return a value as a user would type it: 3, not the 3.0 of a column with a gap."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e6
    return f"{value:.0f}" if whole else str(value)


def levels(values: pd.Series) -> list[object]:
    """Return the distinct values, numbers in order of size, names as they first come."""
    found = list(dict.fromkeys(values))
    if all(isinstance(v, Real) for v in found):
        return sorted(found)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    return found


def label(row: pd.Series, keys: list[str]) -> str:
    """Return the name of a setting: `depth 50, sigmoid, default, clip none`."""
    words = [
        word(row[key]) if _speaks(key, row[key]) else f"{short(key)} {word(row[key])}"
        for key in keys
    ]
    return ", ".join(words) or "this run"


def _speaks(key: str, value: object) -> bool:
    """Say whether a value is a name that needs no key beside it."""
    if key in ("clip", "model.norm") or value == UNSET:
        return False
    return isinstance(value, str) and value.isidentifier()
