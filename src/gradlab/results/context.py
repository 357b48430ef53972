"""The settings and the steps of the runs in a frame of layers: the frame's `attrs["gradlab"]`.

`gradlab.diagnose` needs them besides the rows. pandas passes `attrs` on to the result of `query`,
of a boolean selection and of most other methods.
"""

from collections.abc import Mapping
from typing import Any, Self

import pandas as pd

ATTRIBUTE = "gradlab"
KEYS = ("status", "config", "data", "one_sided", "watched")
"""The entries of `run.json` that `gradlab.diagnose` reads."""
ALONE = ""
"""The name of the run in a frame without a column `run`."""


class Context(dict[str, dict[str, Any]]):
    """Entries of `run.json` by name of the run, and the runs' steps.

    pandas copies `attrs` deeply in every operation, and writes them into Parquet files as JSON. So
    this is a dictionary of JSON types, and never copied. A Parquet file does not store the steps.

    Args:
        infos: Contents of `run.json`, by name of the run; `ALONE` for a frame of one run.
        steps: Rows as in `steps.parquet` of all these runs; None if unknown.
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
        layers: Rows as in `layers.parquet`, of one or several runs.
        infos: Contents of `run.json`, by name of the run; `ALONE` for a frame of one run.
        steps: Rows as in `steps.parquet` of all these runs; None if unknown.

    Returns:
        The same frame.
    """
    layers.attrs[ATTRIBUTE] = Context(infos, steps)
    return layers


def context_of(layers: pd.DataFrame) -> Context:
    """Return the context of a frame of layers; an empty one if it has none."""
    found: Any = layers.attrs.get(ATTRIBUTE)
    if isinstance(found, Context):
        return found
    return Context(found if isinstance(found, dict) else {})  # read back from a Parquet file
