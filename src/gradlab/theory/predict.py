"""The layer-by-layer prediction for a network at initialisation, at finite depth and width."""

from collections.abc import Sequence

import pandas as pd

from gradlab.errors import PredictionError, nearest
from gradlab.reference.activations import Activation
from gradlab.theory.activation import find
from gradlab.theory.batch_norm import batch_norm
from gradlab.theory.chain import chain
from gradlab.theory.frame import frame
from gradlab.theory.held import held
from gradlab.theory.in_range import in_range
from gradlab.theory.residual import residual
from gradlab.theory.variance import Variance, variances

NORMS = ("none", "layer", "rms", "batch")


def predict(
    widths: Sequence[int],
    activation: str,
    init: str = "default",
    *,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    input_rms: float = 1.0,
    gain: float | None = None,
    norm: str = "none",
    batch: int | None = None,
    branch_scale: float | None = None,
) -> pd.DataFrame:
    """Predict a network at initialisation: a row per linear map, from theory alone.

    >>> frame = predict([64, *[64] * 10, 10], "sigmoid")
    >>> round(float(np.log10(frame["delta_norm"][0])), 1)
    -8.5

    Args:
        widths: [n_0, n_1, ..., n_L], inputs and outputs included.
        activation: of the hidden layers, by name.
        init: by name.
        sigma_w: overrides the initialisation: Var W = sigma_w² / fan_in.
        sigma_b: overrides it: Var b = sigma_b².
        input_rms: root mean square of the sample's features.
        gain: replaces that of the initialisation.
        norm: before the activation of the hidden layers: none, layer, rms or batch.
        batch: samples in a batch, which only `batch` asks for; None for many.
        branch_scale: s of a residual network, h + s phi(W h + b); None for a plain one.

    Returns:
        position; preact_std (the root of E u²); act_factor, weight_factor, norm_factor; delta_norm
        and weight_grad_norm relative to the last layer's, as geometric means over networks, for one
        sample (for a batch with `batch`); delta_sd and weight_grad_sd, their spread over networks
        in decades.

    Raises:
        PredictionError: an argument is unknown or out of range, or there is no theory for what it
            asks for.
    """
    phi = find(activation)
    _check(widths, input_rms, norm, branch_scale)
    with in_range():
        maps = variances(widths, init, sigma_w, sigma_b, gain, activation, input_rms)
        return _predict(phi, maps, input_rms, norm, batch, branch_scale)


def _predict(
    phi: Activation,
    maps: Sequence[Variance],
    input_rms: float,
    norm: str,
    batch: int | None,
    branch_scale: float | None,
) -> pd.DataFrame:
    if branch_scale is not None:
        found = frame(residual(phi, maps, input_rms, branch_scale))
        found.attrs["residual"] = True  # its factors multiply to nothing: `table` must know
        return found
    if norm == "batch":
        return frame(batch_norm(phi, maps, input_rms, batch))
    if norm != "none" or maps[0].held is not None:
        return frame(held(phi, maps, input_rms, norm))
    return frame(chain(phi, maps, input_rms))


def _check(widths: Sequence[int], input_rms: float, norm: str, branch_scale: float | None) -> None:
    if len(widths) < 2 or not all(n == int(n) > 0 for n in widths):
        raise PredictionError(f"expected at least two widths, all above 0, given {list(widths)}")
    if not input_rms > 0:
        raise PredictionError(f"input_rms={input_rms}: expected a number above 0")
    if norm not in NORMS:
        raise PredictionError(f"norm={norm} has no prediction; {nearest(str(norm), NORMS)}")
    if branch_scale is not None and norm != "none":
        raise PredictionError(
            f"norm={norm} has no prediction in a residual network: expected norm=none"
        )
    if branch_scale is not None and len(set(widths[1:-1])) > 1:
        raise PredictionError(f"expected hidden layers of one width, given {list(widths[1:-1])}")
