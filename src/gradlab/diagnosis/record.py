"""What the rules look at: the frames of one run, and what is known of it besides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gradlab.config import choices
from gradlab.diagnosis.profile import Grid

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

    @cached_property
    def known(self) -> np.ndarray:
        """Of each of the layers' rows, whether its error signal is a number."""
        return self.layers["delta_norm"].notna().to_numpy()

    @cached_property
    def depth(self) -> Grid:
        """Those rows, by step and layer."""
        return Grid(self.layers, self.known)

    @cached_property
    def everything(self) -> Grid:
        """All rows, by step and layer."""
        return Grid(self.layers)

    @property
    def dtype(self) -> str:
        """The dtype of the run; float32 if that is not known."""
        return str(self.config.get("train.dtype", "float32"))

    def over_steps(self, column: str) -> pd.Series:
        """Return a column of `steps`, by step; empty if it is not there."""
        if column not in self.steps:
            return pd.Series(dtype=float)
        return self._by_step[column].astype(float)

    def at(self, steps: np.ndarray, column: str) -> np.ndarray:
        """Return a column of `steps` at these steps [S]; NaN where it says nothing."""
        return self.over_steps(column).reindex(steps).to_numpy()

    def learnt(self, steps: np.ndarray) -> np.ndarray:
        """Say of each step whether there was nothing left to learn, as far as the loss tells."""
        first = next(iter(self.over_steps("loss")), np.nan)
        loss, accuracy = self.at(steps, "loss"), self.at(steps, "accuracy")
        done = (loss <= LEARNT * first) | (loss == 0)
        return done & (accuracy == 1) if self.over_steps("accuracy").notna().any() else done

    @cached_property
    def _by_step(self) -> pd.DataFrame:
        return self.steps.set_index("step").sort_index()
