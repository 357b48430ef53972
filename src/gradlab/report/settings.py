"""Which keys a sweep varied, and what to call a setting: all of them but the seed."""

from numbers import Real

import pandas as pd

FIRST = ("model.depth", "model.activation", "model.init", "clip", "model.norm", "model")
"""The order in which figures use the keys; others follow as they come."""


def varied(configs: pd.DataFrame) -> list[str]:
    """Return the configuration keys that differ between runs, without `seed`.

    A key that only some choices of a group have (`clip.max_norm`) counts only if its values differ
    where it is present.
    """
    keys: list[str] = []
    for key in configs.columns:
        if key == "seed" or key.startswith("tracking"):
            continue
        present = configs[key].dropna().map(str)
        group = key.split(".")[0]
        optional = group != key and group in configs and len(present) < len(configs)
        if present.nunique() > 1 or (len(present) < len(configs) and not optional):
            keys.append(key)
    order = {key: index for index, key in enumerate(FIRST)}
    return sorted(keys, key=lambda key: order.get(key, len(order)))


def short(key: str) -> str:
    """Return what a reader needs of a key: `init` of `model.init`."""
    return key.split(".")[-1]


def levels(values: pd.Series) -> list[object]:
    """Return the distinct values, numbers in order of size, names as they first come."""
    found = list(dict.fromkeys(values))
    if all(isinstance(v, Real) for v in found):
        return sorted(found)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    return found


def label(row: pd.Series, keys: list[str]) -> str:
    """Return the name of a setting: `depth 50, sigmoid, default, clip none`."""
    words = [
        f"{short(key)} {row[key]}"
        if isinstance(row[key], Real) or key in ("clip", "model.norm")
        else str(row[key])
        for key in keys
    ]
    return ", ".join(words) or "this run"
