"""The table that every prediction ends in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LN10 = np.log(10)
FAR = 0.5  # decades


@dataclass(frozen=True)
class Prediction:
    """Of the maps l = 1..L: squares of the factors, and means and variances of ln of a square.

    Attributes:
        preact: E u_l².
        act: act_factor².
        weight: weight_factor².
        norm: norm_factor².
        delta: of ln (‖delta_l‖ / ‖delta_L‖)².
        grad: of ln (‖dLoss/dW_l‖ / ‖dLoss/dW_L‖)².
    """

    preact: Sequence[float]
    act: Sequence[float]
    weight: Sequence[float]
    norm: Sequence[float]
    delta: Sequence[tuple[float, float]]
    grad: Sequence[tuple[float, float]]


def frame(found: Prediction) -> pd.DataFrame:
    """Return a row per map: roots of the squares, geometric means, spreads in decades."""
    columns = {
        "preact_std": np.sqrt(found.preact),
        "act_factor": np.sqrt(found.act),
        "weight_factor": np.sqrt(found.weight),
        "norm_factor": np.sqrt(found.norm),
    }
    for name, pairs in (("delta", found.delta), ("weight_grad", found.grad)):
        mean, variance = np.array(pairs).T
        columns[f"{name}_norm"] = np.exp(mean / 2)
        columns[f"{name}_sd"] = np.sqrt(np.maximum(variance, 0)) / 2 / LN10  # -1e-17 is 0
    position = np.arange(1, len(found.preact) + 1, dtype="int32")
    return pd.DataFrame({"position": position, **columns})


def too_narrow(frame: pd.DataFrame) -> bool:
    """Say whether the widths are too small for a prediction of first order in 1/width.

    A product of independent factors of mean 1 has E ln = -Var ln / 2. What the predicted shift has
    beyond that, more than half a decade, comes from variances that have run away from where the
    moments of the activation were taken. Of a residual network it cannot be told.
    """
    if frame.attrs.get("residual"):
        return False
    with np.errstate(divide="ignore"):
        act, weight, norm = (
            np.log10(frame[f"{name}_factor"].to_numpy()) for name in ("act", "weight", "norm")
        )
        shift = np.log10(frame["delta_norm"].iloc[0]) - (act + norm)[:-1].sum() - weight[1:].sum()
    return bool(abs(shift + frame["delta_sd"].iloc[0] ** 2 * LN10) > FAR)
