"""What the rules look at: the frames of one run, and what is known of it besides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from gradlab import choices

LIMITS: Mapping[str, float] = choices.load("diagnose", "default")
"""The thresholds that ship, with their reasons: `conf/diagnose/default.yaml`."""

LEARNT = 1e-3  # of the first loss: what is left to learn is little, and gradients may be small
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
LARGEST = {"float16": 65504.0, "bfloat16": 3.39e38, "float32": 3.4e38, "float64": 1.8e308}


@dataclass(frozen=True)
class Record:
    """The record of one run.

    Attributes:
        layers: as in `layers.parquet`; all of it, what is not finite included.
        steps: as in `steps.parquet`, perhaps empty, perhaps with fewer columns.
        config: flat, as in `run.json`; perhaps empty.
        expected: what theory predicts for step 0, with the same columns; None if it does not.
        fixed_point: decades a layer that theory gives for wide and deep networks; None likewise.
    """

    layers: pd.DataFrame
    steps: pd.DataFrame
    config: Mapping[str, Any] = field(default_factory=dict)
    expected: pd.DataFrame | None = None
    fixed_point: float | None = None

    def limit(self, name: str) -> float:
        """Return a threshold: the run's own, or that which ships."""
        return float(self.config.get(f"diagnose.{name}", LIMITS[name]))

    @property
    def depth(self) -> pd.DataFrame:
        """The layers' rows in which the error signal is a number."""
        return self.layers[self.layers["delta_norm"].notna()]

    @property
    def dtype(self) -> str:
        """The dtype of the run; float32 if that is not known."""
        return str(self.config.get("train.dtype", "float32"))

    def over_steps(self, column: str) -> pd.Series:
        """Return a column of `steps`, by step; empty if it is not there."""
        if column not in self.steps:
            return pd.Series(dtype=float)
        told = self.steps.set_index("step")[column].sort_index()
        return told.astype(float)

    def learnt(self) -> pd.Series:
        """Say of each step whether there was nothing left to learn, as far as the loss tells."""
        loss, accuracy = self.over_steps("loss"), self.over_steps("accuracy")
        first = loss.iloc[0] if len(loss) else math.nan
        done = (loss <= LEARNT * first) | (loss == 0)
        right = accuracy.reindex(loss.index) == 1 if len(accuracy) else done
        return done & right if len(accuracy) and accuracy.notna().any() else done
