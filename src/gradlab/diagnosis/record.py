"""The input of the rules: the frames of one run, and its settings where known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gradlab.config import choices
from gradlab.diagnosis.grid import Grid, measurements, relative
from gradlab.diagnosis.sentences import layers_text
from gradlab.nonfinite.fault import Fault
from gradlab.theory.mean_field import decades_per_layer, predict_run

LIMITS: Mapping[str, float] = choices.load("diagnose", "default")
"""The default thresholds; `conf/diagnose/default.yaml` gives the reason for each."""

LEARNT = 1e-3  # of the first loss: little is left to learn, and gradients may be small
ONE_SIDED = ("relu", "leaky_relu")
"""Activations that are flat on one side by design: flat entries are sparse, not saturated."""
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
LARGEST = {"float16": 65504.0, "bfloat16": 3.39e38, "float32": 3.4e38, "float64": 1.8e308}


@dataclass(frozen=True)
class Record:
    """The record of one run.

    Attributes:
        layers: Rows as in `layers.parquet`.
        steps: Rows as in `steps.parquet`; may be empty, may lack columns.
        info: Entries of `run.json` as in `results.context.KEYS`; may be empty.
    """

    layers: pd.DataFrame
    steps: pd.DataFrame
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def config(self) -> Mapping[str, Any]:
        """The flat configuration; empty if unknown."""
        return self.info.get("config") or {}

    @property
    def dtype(self) -> str:
        """The dtype of the run; float32 if unknown."""
        return str(self.config.get("train.dtype", "float32"))

    @property
    def watched(self) -> bool:
        """Whether the network is the user's, recorded by `gradlab.watch`."""
        return self.info.get("watched") is True

    @cached_property
    def expected(self) -> pd.DataFrame | None:
        """Theory's error signal at step 0, by position; None without a theory."""
        return predict_run(self.config, self.info.get("data") or {})

    @cached_property
    def fixed_point(self) -> float | None:
        """Theory's decades per layer of a wide and deep network; None without a theory."""
        return decades_per_layer(self.config)

    @cached_property
    def faults(self) -> list[Fault]:
        """The located numbers that are inf or NaN, the first first."""
        return [Fault.from_dict(each) for each in self._nonfinite.get("faults", ())]

    @property
    def skipped(self) -> list[int]:
        """The steps that a GradScaler skipped; they count in the numbers of the steps."""
        return list(self._nonfinite.get("skipped", ()))

    @property
    def attempts(self) -> int:
        """The number of steps, with the skipped steps."""
        return int(self._nonfinite.get("attempts", 0))

    @property
    def scales(self) -> list[float]:
        """The loss scale at each skipped step."""
        return list(self._nonfinite.get("scales", ()))

    @property
    def _nonfinite(self) -> Mapping[str, Any]:
        return self.info.get("nonfinite") or {}

    def limit(self, name: str) -> float:
        """Return a threshold of the configuration, or else the default."""
        return float(self.config.get(f"diagnose.{name}", LIMITS[name]))

    @cached_property
    def depth(self) -> Grid:
        """The rows over depth whose error signal is a number."""
        return Grid(self.layers, self._with_signal)

    @cached_property
    def main_path(self) -> Grid:
        """The same rows without branches, such as the queries of attention.

        A layer is on a branch if its error signal is weak in most steps, and strong again in a
        layer nearer the input: the signal there came by another way.
        """
        grid = self.depth
        signal = relative(grid["delta_norm"])
        weak = (signal <= -self.limit("decades")).mean(axis=0) >= 0.5
        branch = weak & np.logical_or.accumulate(~weak & ~np.isnan(signal).all(axis=0))
        if not branch.any():
            return grid
        on_branch = self.layers["position"].isin(grid.positions[branch]).to_numpy()
        return Grid(self.layers, self._with_signal & ~on_branch)

    @cached_property
    def everything(self) -> Grid:
        """All rows over depth."""
        return Grid(self.layers)

    @cached_property
    def one_sided(self) -> np.ndarray:
        """Which positions of `depth` have an activation that is flat on one side, bool [L]."""
        if self.config.get("model.activation") in ONE_SIDED:
            return np.ones(len(self.depth.positions), dtype=bool)
        modules = self.info.get("one_sided") or ()
        return np.array([self.module(int(p)) in modules for p in self.depth.positions], dtype=bool)

    @property
    def positions(self) -> list[int]:
        """The positions of all modules over depth."""
        return [*self._modules]

    def module(self, position: int) -> str:
        """Return the name of the module at a position over depth; "" if it has none."""
        return self._modules.get(position, "")

    def layers_text(self, positions: Sequence[int], named: bool = False) -> str:
        """Return positions over depth as text; with the names of the modules of a watched network.

        Args:
            positions: Positions, rising.
            named: Add the names for any network.

        Returns:
            Text such as `layers 1-3 (modules 0, 2, 4)`.
        """
        names = [self.module(position) for position in positions]
        return layers_text(positions, names if all(names) and (named or self.watched) else ())

    def over_steps(self, column: str) -> pd.Series:
        """Return the measured entries of a column of `steps`, by step; empty if there are none."""
        if column not in self.steps:
            return pd.Series(dtype=float)
        values, measured = measurements(self.steps, column)
        index = self.steps["step"].to_numpy()
        return pd.Series(values[measured], index[measured], dtype=float).sort_index()

    def at(self, steps: np.ndarray, column: str) -> np.ndarray:
        """Return a column of `steps` at these steps [S]; NaN where it was not measured."""
        return self.over_steps(column).reindex(steps).to_numpy()

    def learnt(self, steps: np.ndarray) -> np.ndarray:
        """Return the steps at which loss and accuracy leave nothing to learn, bool [S]."""
        first = next(iter(self.over_steps("loss")), np.nan)
        loss, accuracy = self.at(steps, "loss"), self.at(steps, "accuracy")
        done = (loss <= LEARNT * first) | (loss == 0)
        return done & (accuracy == 1) if self.over_steps("accuracy").notna().any() else done

    @cached_property
    def _with_signal(self) -> np.ndarray:
        return ~np.isnan(measurements(self.layers, "delta_norm")[0])

    @cached_property
    def _modules(self) -> dict[int, str]:
        rows = self.layers[self.layers["axis"] == "depth"].drop_duplicates("position")
        if "module" not in rows:
            return {}
        return dict(zip(rows["position"].tolist(), rows["module"].astype(str), strict=True))
