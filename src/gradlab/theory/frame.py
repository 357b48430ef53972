"""A prediction as a frame, and as text for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlab.pages.numbers import factor_text
from gradlab.theory.phase import Phase

LN10 = np.log(10)
MAX_SHIFT = 0.5
"""Decades: a larger unexplained shift means that the network is too narrow for the theory."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for the linear maps l = 1..L of a network.

    Attributes:
        preact: E u_l², where u_l is the input of the activation.
        act: act_factor².
        weight: weight_factor².
        norm: norm_factor².
        delta: mean and variance over networks of ln (‖delta_l‖ / ‖delta_L‖)².
        grad: mean and variance over networks of ln (‖dLoss/dW_l‖ / ‖dLoss/dW_L‖)².
    """

    preact: Sequence[float]
    act: Sequence[float]
    weight: Sequence[float]
    norm: Sequence[float]
    delta: Sequence[tuple[float, float]]
    grad: Sequence[tuple[float, float]]


def to_frame(prediction: Prediction) -> pd.DataFrame:
    """Return a frame with a row per map: roots of squares, geometric means, spreads in decades."""
    columns = {
        "preact_std": np.sqrt(prediction.preact),
        "act_factor": np.sqrt(prediction.act),
        "weight_factor": np.sqrt(prediction.weight),
        "norm_factor": np.sqrt(prediction.norm),
    }
    for name, pairs in (("delta", prediction.delta), ("weight_grad", prediction.grad)):
        mean, variance = np.array(pairs).T
        columns[f"{name}_norm"] = np.exp(mean / 2)
        columns[f"{name}_sd"] = (
            np.sqrt(np.maximum(variance, 0)) / 2 / LN10
        )  # rounding may give -1e-17
    position = np.arange(1, len(prediction.preact) + 1, dtype="int32")
    return pd.DataFrame({"position": position, **columns})


def is_too_narrow(frame: pd.DataFrame) -> bool:
    """Return whether the network is too narrow for a prediction of first order in 1/width.

    A product of independent factors of mean 1 has E ln = -Var ln / 2. The prediction is unreliable
    if its shift differs from this by more than half a decade. Then the variances have moved too far
    from the values at which the moments of the activation were computed. Always False for a
    residual network.
    """
    if frame.attrs.get("residual"):
        return False
    with np.errstate(divide="ignore"):
        act, weight, norm = (
            np.log10(frame[f"{name}_factor"].to_numpy()) for name in ("act", "weight", "norm")
        )
        shift = np.log10(frame["delta_norm"].iloc[0]) - (act + norm)[:-1].sum() - weight[1:].sum()
    return bool(abs(shift + frame["delta_sd"].iloc[0] ** 2 * LN10) > MAX_SHIFT)


MAX_ROWS = 24


def prediction_lines(frame: pd.DataFrame) -> list[str]:
    """Return a prediction as text, norms in decades; of a deep network only every k-th row."""
    every = -(-len(frame) // MAX_ROWS)
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


def summary_lines(frame: pd.DataFrame, phase: Phase | None) -> Sequence[str]:
    """Return the result of a prediction in sentences."""
    first = frame.iloc[0]
    delta, grad = np.log10([first["delta_norm"], first["weight_grad_norm"]])
    lines = [
        "From the last layer to the first, the error signal of one sample "
        f"{_change(delta, first['delta_sd'])}{_contributions(frame, float(delta))}.",
        f"The weight gradient {_change(grad, first['weight_grad_sd'])}.",
    ]
    if is_too_narrow(frame):
        lines.append(
            "The network is too narrow for this prediction: corrections of order 1/width are not "
            "small. Theory holds only at larger widths."
        )
    if phase is not None:
        lines.append(f"A wide and deep network is {phase}.")
    return lines


def _change(decades: float, spread: float) -> str:
    """Return a clause such as "falls 320-million-fold (-8.51 decades ± 0.09 over networks)"."""
    verb = "falls" if decades < 0 else "grows"
    return f"{verb} {factor_text(decades)} ({decades:+.2f} decades ± {spread:.2f} over networks)"


def _contributions(frame: pd.DataFrame, delta: float) -> str:
    """Return a clause with the decades of activations, weights, normalisation and finite width."""
    if frame.attrs.get("residual"):
        return ""  # the factors leave out the skip connection
    act = float(np.log10(frame["act_factor"].iloc[:-1]).sum())
    weights = float(np.log10(frame["weight_factor"].iloc[1:]).sum())
    norm = float(np.log10(frame["norm_factor"]).sum())
    normed = f"normalisation {norm:+.2f}, " if (frame["norm_factor"] != 1).any() else ""
    return (
        f": activations {act:+.2f}, weights {weights:+.2f}, {normed}"
        f"finite width {delta - act - weights - norm:+.2f}"
    )
