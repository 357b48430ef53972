"""The layer-by-layer prediction for a plain network at initialisation, at finite depth and width.

For one sample, and independent forward and backward weights (Schoenholz et al. 2017, section 4):

    q_1 = n_0 Var W_1 input_rms² + Var b_1,     q_{l+1} = n_l Var W_{l+1} E phi(z_l)² + Var b_{l+1}
    act_factor² = E phi'(z_l)²,                 weight_factor² = n_{l-1} Var W_l

with z_l ~ N(0, q_l). To first order in 1/width, q_l itself has a variance V_l and a shift M_l,
since it is a mean over n_{l-1} units, and a layer of n units changes ln ‖error signal‖² by a random
amount of variance (3 E phi'⁴/(E phi'²)² - 1) / n (5 / n for ReLU: Hanin & Nica 2020). Given the
layer before, pre-activations are exactly Gaussian, so that

    V_{l+1} = s² (h'² V_l + Var phi² / n),      M_{l+1} = s (h' M_l + h'' V_l / 2)

with s = n_l Var W and h(q) = E phi² (Roberts, Yaida & Hanin 2022, section 4.3, for one input).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlab.errors import PredictionError
from gradlab.reference.activations import Activation, Array
from gradlab.theory.activation import find
from gradlab.theory.gauss import Moments
from gradlab.theory.variance import Variance, variances

LN10 = np.log(10)


@dataclass(frozen=True)
class Forward:
    """Of the maps l = 1..L: q_l, its variance and shift, and the moments of phi there."""

    q: Array
    moments: Sequence[Moments | None]  # None at the output
    noise: Array  # of E a_l², the variance that layer l's n units add
    spread: Array  # V_l
    shift: Array  # M_l
    input_square: float  # ‖a_0‖²


def predict(
    widths: Sequence[int],
    activation: str,
    init: str = "default",
    *,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    input_rms: float = 1.0,
    gain: float | None = None,
) -> pd.DataFrame:
    """Predict a plain network at initialisation: a row per linear map, from theory alone.

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

    Returns:
        position; preact_std (the root of E z²); act_factor, weight_factor; delta_norm and
        weight_grad_norm relative to the last layer's, as geometric means over networks, for one
        sample; delta_sd and weight_grad_sd, their spread over networks in decades.

    Raises:
        PredictionError: an argument is unknown or out of range, or there is no theory for the
            initialisation.
    """
    phi = find(activation)
    if len(widths) < 2 or not all(n == int(n) > 0 for n in widths):
        raise PredictionError(f"expected at least two widths, all above 0, given {list(widths)}")
    if not input_rms > 0:
        raise PredictionError(f"input_rms={input_rms}: expected a number above 0")
    maps = variances(widths, init, sigma_w, sigma_b, gain)
    forward = _forward(phi, widths, maps, input_rms)
    last = len(maps)
    act = np.array([1.0 if m is None else np.sqrt(m.slope) for m in forward.moments])
    weight = np.array([np.sqrt(n * v.weight) for n, v in zip(widths, maps, strict=False)])
    rows: list[dict[str, float]] = []
    for l in range(1, last + 1):
        delta_ln, delta_var = _between(forward, widths, maps, l, gradients=False)
        grad_ln, grad_var = _between(forward, widths, maps, l, gradients=True)
        rows.append(
            {
                "position": l,
                "preact_std": np.sqrt(forward.q[l - 1]),
                "act_factor": act[l - 1],
                "weight_factor": weight[l - 1],
                "delta_norm": np.exp(delta_ln / 2),
                "delta_sd": np.sqrt(delta_var) / 2 / LN10,
                "weight_grad_norm": np.exp(grad_ln / 2),
                "weight_grad_sd": np.sqrt(grad_var) / 2 / LN10,
            }
        )
    return pd.DataFrame(rows).astype({"position": "int32"})


def _forward(
    phi: Activation, widths: Sequence[int], maps: Sequence[Variance], input_rms: float
) -> Forward:
    q = widths[0] * maps[0].weight * input_rms**2 + maps[0].bias
    spread, shift = 0.0, 0.0
    qs, spreads, shifts, noises = [q], [spread], [shift], list[float]()
    moments: list[Moments | None] = []
    for n, after in zip(widths[1:-1], maps[1:], strict=True):
        m = Moments(phi, q)
        s = n * after.weight
        noise = m.square_var / n
        shift = s * (m.square_1 * shift + m.square_2 * spread / 2)
        spread = s**2 * (m.square_1**2 * spread + noise)
        q = s * m.square + after.bias
        moments.append(m)
        noises.append(noise)
        qs.append(q)
        spreads.append(spread)
        shifts.append(shift)
    return Forward(
        q=np.array(qs),
        moments=[*moments, None],
        noise=np.array(noises),
        spread=np.array(spreads),
        shift=np.array(shifts),
        input_square=widths[0] * input_rms**2,
    )


def _between(
    forward: Forward, widths: Sequence[int], maps: Sequence[Variance], l: int, gradients: bool
) -> tuple[float, float]:
    """Return mean and variance of ln of (‖delta_l‖ / ‖delta_L‖)², or of the weight gradients'.

    ‖dLoss/dW_l‖² = ‖delta_l‖² ‖a_{l-1}‖² for one sample, so that gradients add ln ‖a_{l-1}‖² -
    ln ‖a_{L-1}‖². Each layer's units make noise of their own in phi² and in phi'²; the first is
    felt by every later q, which is what `felt` sums up, from the last layer back.
    """
    last = len(maps)
    mean = variance = 0.0
    # How ln of the ratio changes with q_m, by m = 1..L.
    direct = np.zeros(last + 1)
    for m in range(l, last):
        moments = forward.moments[m - 1]
        assert moments is not None
        direct[m] = moments.log_slope_1
        mean += np.log(moments.slope * widths[m] * maps[m].weight)
        mean += moments.log_slope_1 * forward.shift[m - 1]
        mean += moments.log_slope_2 * forward.spread[m - 1] / 2
    # ... and with the mean square of a_m, m = 1..L-1.
    square = np.zeros(last + 1)
    if gradients and l < last:
        for m, sign in ((l - 1, 1.0), (last - 1, -1.0)):
            if m == 0:
                mean += sign * np.log(forward.input_square)
                continue
            moments = forward.moments[m - 1]
            assert moments is not None
            h = moments.square
            mean += sign * np.log(widths[m] * h)
            own = forward.noise[m - 1] + moments.square_1**2 * forward.spread[m - 1]
            drift = moments.square_1 * forward.shift[m - 1]
            drift += moments.square_2 * forward.spread[m - 1] / 2
            mean += sign * (drift / h - own / (2 * h**2))
            square[m] = sign / h
    felt = 0.0  # by the ratio, of a change of q_{m+1}
    for m in range(last - 1, 0, -1):
        moments = forward.moments[m - 1]
        assert moments is not None
        n = widths[m]
        of_square = felt * n * maps[m].weight + square[m]  # of a change in the mean of phi² at m
        variance += of_square**2 * forward.noise[m - 1]
        if m >= l:
            variance += (moments.slope_spread + 2 * of_square * moments.both) / n
            mean -= moments.slope_spread / (2 * n)
        felt = direct[m] + of_square * moments.square_1
    return mean, variance
