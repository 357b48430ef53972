"""A prediction as a person reads it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradlab.theory.frame import too_narrow
from gradlab.theory.phase import Phase

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


def told(frame: pd.DataFrame, phase: Phase | None) -> Sequence[str]:
    """Return what the prediction comes to, in sentences."""
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
        return ""  # what goes around a layer is no product of its factors
    act = float(np.log10(frame["act_factor"].iloc[:-1]).sum())
    weights = float(np.log10(frame["weight_factor"].iloc[1:]).sum())
    norm = float(np.log10(frame["norm_factor"]).sum())
    normed = f"normalisation {norm:+.2f}, " if (frame["norm_factor"] != 1).any() else ""
    return (
        f": activations {act:+.2f}, weights {weights:+.2f}, {normed}"
        f"finite width {delta - act - weights - norm:+.2f}"
    )
