"""What frames must be to be judged: else a rule would misread them and say nothing."""

from collections.abc import Iterable

import pandas as pd

from gradlab import schema
from gradlab.errors import StoreError, nearest

UNREAD = ("module", "bias_grad_norm", "grad_nonfinite")  # by any rule
LAYERS = tuple(name for name in schema.names(schema.LAYERS) if name not in UNREAD)


def check(layers: pd.DataFrame, steps: pd.DataFrame) -> None:
    """Refuse what cannot be judged.

    Raises:
        StoreError: a column is missing, a row is there twice, or runs are of different networks.
    """
    several = "run" in layers and layers["run"].nunique() > 1
    _has("layers", layers, LAYERS)
    if len(steps):
        _has("steps", steps, ("step", "run") if several else ("step",))
    _once("layers", layers, ("run", "step", "axis", "position", "module"))
    _once("steps", steps, ("run", "step"))
    if several:
        _alike(layers)


def _has(name: str, frame: pd.DataFrame, columns: Iterable[str]) -> None:
    given = [str(column) for column in frame]
    for column in columns:
        if column not in given:
            told = nearest(column, given) if given else "it has none"
            raise StoreError(f"expected a column {column} in {name}, but it is not there; {told}")


def _once(name: str, frame: pd.DataFrame, keys: Iterable[str]) -> None:
    """Refuse what looks like several runs without their names: each would overwrite the other."""
    keys = [key for key in keys if key in frame]
    twice = frame.loc[frame.duplicated(keys).to_numpy(), keys] if keys else frame.iloc[:0]
    if len(twice):
        told = ", ".join(f"{key}={twice[key].iloc[0]}" for key in keys)
        raise StoreError(
            f"expected one row in {name} for {told}, given more; if they are of several runs, a "
            "column run must name each"
        )


def _alike(layers: pd.DataFrame) -> None:
    """Refuse runs that cannot be seeds of one setting: their weights differ in number."""
    depth = layers[layers["axis"] == "depth"]
    depths = depth.groupby("run")["position"].max()
    sizes = depth.groupby("position")["weight_count"].nunique()
    if depths.nunique() > 1 or (sizes > 1).any():
        raise StoreError(
            "expected several seeds of one setting, given networks of different size; "
            "choose one by layers.query(\"run == '0'\")"
        )
