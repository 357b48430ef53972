"""The prediction as a frame, and as text for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlab.theory.phase import Phase

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
    """Return whether the widths are too small for a prediction of first order in 1/width.

    A product of independent factors of mean 1 has E ln = -Var ln / 2. What the predicted shift has
    beyond that, more than half a decade, comes from variances that have run away from where the
    moments of the activation were taken. Always False for a residual network.
    """
    if frame.attrs.get("residual"):
        return False
    with np.errstate(divide="ignore"):
        act, weight, norm = (
            np.log10(frame[f"{name}_factor"].to_numpy()) for name in ("act", "weight", "norm")
        )
        shift = np.log10(frame["delta_norm"].iloc[0]) - (act + norm)[:-1].sum() - weight[1:].sum()
    return bool(abs(shift + frame["delta_sd"].iloc[0] ** 2 * LN10) > FAR)


MOST_ROWS = 24


def table(frame: pd.DataFrame) -> list[str]:
    """Return the rows of a prediction, norms in decades; every k-th row of a deep one."""
    every = -(-len(frame) // MOST_ROWS)
    shown = frame.iloc[::-1].iloc[::every].iloc[::-1]
    lines = [
        "layer  std of z  act_factor  weight_factor  ‖delta‖ (decades)  ‖dLoss/dW‖ (decades)",
    ]
    for _, row in shown.iterrows():
        delta, grad = np.log10(row["delta_norm"]), np.log10(row["weight_grad_norm"])
        lines.append(
            f"{int(row['position']):5d}  {row['preact_std']:8.4g}  {row['act_factor']:10.4f}  "
            f"{row['weight_factor']:13.4f}  {delta:+10.2f} ± {row['delta_sd']:.2f}    "
            f"{grad:+10.2f} ± {row['weight_grad_sd']:.2f}"
        )
    return lines


def summary(frame: pd.DataFrame, phase: Phase | None) -> Sequence[str]:
    """Return the result of a prediction in sentences."""
    first = frame.iloc[0]
    delta = float(np.log10(first["delta_norm"]))
    lines = [
        f"From the last layer to the first one sample's error signal changes by {delta:+.2f} "
        f"decades, ± {first['delta_sd']:.2f} over networks{_parts(frame, delta)}.",
        f"The weights' gradient changes by {np.log10(first['weight_grad_norm']):+.2f}, "
        f"± {first['weight_grad_sd']:.2f}.",
    ]
    if too_narrow(frame):
        lines.append(
            "The network is too narrow for this: the corrections of order 1/width are not small, "
            "and theory holds at larger widths only."
        )
    if phase is not None:
        scale = "" if phase.phase == "critical" else f", e-fold in {phase.xi_grad:.3g} layers"
        lines.append(
            f"Wide and deep it is {phase.phase}: the squared error signal times {phase.chi_1:.4g} "
            f"a layer{scale}, at a variance of {phase.q_star:.4g}."
        )
    return lines


def _parts(frame: pd.DataFrame, delta: float) -> str:
    """Return what activations, weights, normalisation and finite width each do to it."""
    if frame.attrs.get("residual"):
        return ""  # the skip connection is not among the factors
    act = float(np.log10(frame["act_factor"].iloc[:-1]).sum())
    weights = float(np.log10(frame["weight_factor"].iloc[1:]).sum())
    norm = float(np.log10(frame["norm_factor"]).sum())
    normed = f"normalisation {norm:+.2f}, " if (frame["norm_factor"] != 1).any() else ""
    return (
        f": activations {act:+.2f}, weights {weights:+.2f}, {normed}"
        f"finite width {delta - act - weights - norm:+.2f}"
    )
