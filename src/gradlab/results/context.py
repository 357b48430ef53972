"""Stores the settings and the steps of runs in a frame of layers, as `attrs["gradlab"]`.

`gradlab.diagnose` needs them in addition to the rows. pandas copies `attrs` to the result of
`query`, of a boolean selection and of most other methods.
"""

from collections.abc import Mapping
from typing import Any, Self

import pandas as pd

ATTRIBUTE = "gradlab"
KEYS = ("status", "config", "data", "one_sided", "watched", "nonfinite")
"""The entries of `run.json` that `gradlab.diagnose` reads."""
ALONE = ""
"""The name that stands for the run in a frame without a column `run`."""


class Context(dict[str, dict[str, Any]]):
    """Entries of `run.json`, keyed by name of the run, and the steps of the runs.

    pandas deep-copies `attrs` in every operation and writes them to Parquet files as JSON.
    Therefore a context is a dictionary of JSON types that is never copied. Parquet files written by
    pandas do not contain the steps.

    Args:
        infos: Contents of `run.json`, keyed by name of the run; `ALONE` for a frame of one run.
        steps: Rows of `steps.parquet` of all these runs; None if unknown.
    """

    def __init__(
        self, infos: Mapping[str, Mapping[str, Any]], steps: pd.DataFrame | None = None
    ) -> None:
        super().__init__(
            {name: {k: info[k] for k in KEYS if k in info} for name, info in infos.items()}
        )
        self.steps = steps

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def attach(
    layers: pd.DataFrame, infos: Mapping[str, Mapping[str, Any]], steps: pd.DataFrame | None
) -> pd.DataFrame:
    """Set the context of a frame of layers.

    Args:
        layers: Rows of `layers.parquet`, of one run or several.
        infos: Contents of `run.json`, keyed by name of the run; `ALONE` for a frame of one run.
        steps: Rows of `steps.parquet` of all these runs; None if unknown.

    Returns:
        `layers`.
    """
    layers.attrs[ATTRIBUTE] = Context(infos, steps)
    return layers


def context_of(layers: pd.DataFrame) -> Context:
    """Return the context of a frame of layers; an empty context if the frame has none."""
    context: Any = layers.attrs.get(ATTRIBUTE)
    if isinstance(context, Context):
        return context
    return Context(context if isinstance(context, dict) else {})  # a dict, if read from Parquet
