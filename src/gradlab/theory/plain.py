"""Plain networks: the variance of each layer follows from the variance of the layer before.

For one sample, with s_l = n_{l-1} Var W_l (Schoenholz et al. 2017, section 4):

    q_1 = s_1 input_rms² + Var b_1,             q_{l+1} = s_{l+1} h(q_l) + Var b_{l+1}
    act_factor² = m(q_l),                       weight_factor² = s_l

with h = E phi², m = E phi'². At finite width, q_l varies from network to network: to first order,
its logarithm has a variance v_l and a shift d_l. With w = s h / q_{l+1} and the elasticity
e = q h' / h,

    v_{l+1} = w² (e² v_l + Var_l) + radius_{l+1}
    d_{l+1} = w (e d_l + q² h'' / h (v_l / 2 - 1/n))

(Roberts, Yaida & Hanin 2022, section 4.3, for one input). Var_l is the noise of a layer (`Noise`)
and radius the noise of a linear map (`Variance.radius`).

**The parallel part.** The weights of z = W a + b also carry delta back: W^T delta · a =
(z - b) · delta, exactly. Of the square of this product, the share w comes from z · delta, and the
rest is independent of it. So the part of the error signal that is parallel to the signal grows by
another factor per layer, without biases by V'(q) and not by chi_1 (Roberts, Yaida & Hanin 2022,
section 5.1: chi_parallel and
chi_perpendicular). At the output this part is 1/n of the square, a correction of order 1/n. Where
V' > chi_1, as with GELU or in a residual network whose units have a mean, it grows with depth and
finally dominates. The code follows two numbers from the last layer to the first, relative to the
square that the averages predict:

    d = ‖delta_l‖²,     t = (z_l · delta_l)² / q_l

Both are linear in the d and t of the next layer. For delta_L, t is x² with x ~ N(0, 1) over
networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.reference.activation_functions import Activation, Array
from gradlab.theory.frame import Prediction
from gradlab.theory.moments import Moments, Noise, nodes
from gradlab.theory.variance import Variance


def log_moments(pair: Array) -> tuple[float, float]:
    """Return mean and variance over networks of ln (a + b x²), x ~ N(0, 1), from [a, b]."""
    x, w = nodes()
    values = np.log(np.maximum(pair[0] + pair[1] * x**2, 1e-300))
    mean = float(w @ values)
    return mean, float(w @ (values - mean) ** 2)


def parallel_part(
    moments: Sequence[Moments], maps: Sequence[Variance], shares: Sequence[float]
) -> list[tuple[float, float]]:
    """Return mean and variance of ln d, l = 1..L, of a plain network.

    Where V' = chi_1, as for ReLU, t keeps its size, and the layers' noise already contains the
    variation of d that t causes. So only the excess counts.

    Args:
        moments: the moments of the hidden layers.
        maps: W_1..W_L.
        shares: the part of q_l that comes from the weights and not from biases, l = 1..L.

    Returns:
        A pair (mean, variance) for each of the layers 1..L.
    """
    d, t, counted = np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.0
    found = [(0.0, 0.0)]
    for m, after, share in zip(moments[::-1], maps[:0:-1], shares[:0:-1], strict=True):
        n, e = after.n_in, m.q * m.square_1 / m.square
        along = (share * t + (1 - share) * d) / n  # the part of ‖W^T delta‖² along a
        rest = d - (along if after.orthogonal else d / n)
        c, r = m.cov_square_slope / m.square, m.square / (m.q * m.slope) * e**2
        d, t = rest * (1 - c / n) + along * (1 + c), r * n * along + rest * (m.slope_z_square - r)
        counted += (1 + c) / n
        beyond = max(float(d[1]) - counted, 0.0)
        found.append(log_moments(np.array([d.sum() - beyond, beyond])))
    return found[::-1]


@dataclass(frozen=True)
class PlainLayer:
    """A hidden layer: its moments and noise, v_l and d_l, and the next linear map.

    Attributes:
        moments: the moments at q_l.
        noise: the noise of the units and of W_{l+1}^T.
        spread: v_l, the variance of ln q_l.
        shift: d_l, relative.
        radius: the part of v_l that arises in the map W_l.
        scale: s_{l+1}.
        share: w, the part of q_{l+1} that comes from the weights.
        width: n_l.
    """

    moments: Moments
    noise: Noise
    spread: float
    shift: float
    radius: float
    scale: float
    share: float
    width: int

    @property
    def square_variance(self) -> float:
        """Return the variance of ln of the mean of phi²."""
        return self.elasticity**2 * self.spread + self.noise.square

    @property
    def elasticity(self) -> float:
        """Return q h' / h."""
        return self.moments.q * self.moments.square_1 / self.moments.square

    @property
    def drift(self) -> float:
        """Return the relative shift of the mean of phi²."""
        m = self.moments
        curve = m.q**2 * m.square_2 / m.square * self.spread / 2
        return self.elasticity * self.shift + curve + self.noise.square_shift

    @property
    def slope_elasticity(self) -> float:
        """Return q m' / m, the elasticity of m in q."""
        return self.moments.q * self.moments.log_slope_1

    @property
    def log_slope(self) -> float:
        """Return the mean of ln of ‖delta_l‖² / ‖delta_{l+1}‖²."""
        m, q = self.moments, self.moments.q
        mean = np.log(m.slope * self.scale) + self.slope_elasticity * self.shift
        mean += m.log_slope_2 * q**2 * self.spread / 2
        return float(mean + self.noise.slope_shift - self.noise.slope / 2)

    @property
    def log_square(self) -> float:
        """Return the mean of ln ‖a_l‖²."""
        return float(
            np.log(self.width * self.moments.square) + self.drift - self.square_variance / 2
        )


def plain_network(phi: Activation, maps: Sequence[Variance], input_rms: float) -> Prediction:
    """Return the prediction for a plain network.

    Args:
        phi: the activation.
        maps: the variances of W_1..W_L and their biases.
        input_rms: the root mean square of a sample's features.

    Returns:
        The prediction for one sample.
    """
    first = maps[0]
    s = first.scale(input_rms**2)
    q, share = s * input_rms**2 + first.bias, s * input_rms**2 / (s * input_rms**2 + first.bias)
    radius = first.radius(share)
    spread, shift = radius, 0.0
    layers: list[PlainLayer] = []
    for after in maps[1:]:
        m = Moments(phi, q)
        s = after.scale(m.square)
        n, q = after.n_in, s * m.square + after.bias
        share = s * m.square / q
        layer = PlainLayer(m, Noise(m, n, after.back), spread, shift, radius, s, share, n)
        layers.append(layer)
        radius = after.radius(share)
        spread, shift = share**2 * layer.square_variance + radius, share * layer.drift
    qs = [layer.moments.q for layer in layers] + [q]
    start = float(np.log(first.n_in * input_rms**2))
    # The share of z_1 is not used.
    parallel = parallel_part([x.moments for x in layers], maps, [1.0, *(x.share for x in layers)])
    return Prediction(
        preact=qs,
        act=[layer.moments.slope for layer in layers] + [1.0],
        weight=[first.scale(input_rms**2), *(layer.scale for layer in layers)],
        norm=[1.0] * len(maps),
        delta=[_log_ratio(layers, l, more, None) for l, more in enumerate(parallel, 1)],
        grad=[_log_ratio(layers, l, more, start) for l, more in enumerate(parallel, 1)],
    )


def _log_ratio(
    layers: Sequence[PlainLayer], l: int, parallel: tuple[float, float], start: float | None
) -> tuple[float, float]:
    """Return mean and variance of ln (‖delta_l‖ / ‖delta_L‖)², or of the same for weight gradients.

    For one sample ‖dLoss/dW_l‖² = ‖delta_l‖² ‖a_{l-1}‖². So weight gradients add ln ‖a_{l-1}‖² - ln
    ‖a_{L-1}‖². The units of each layer add noise to phi² and to phi'². The noise in phi² changes
    every later q; `effect` sums these changes from the last layer.

    Args:
        layers: the hidden layers.
        l: the layer, counted from 1.
        parallel: mean and variance of the parallel part.
        start: ln ‖a_0‖² for weight gradients; None for error signals.

    Returns:
        Mean and variance over networks.
    """
    mean, variance = parallel
    effect = 0.0  # how the ratio changes with ln q_{m+1}
    for m in range(len(layers), 0, -1):
        layer, below = layers[m - 1], m >= l
        of_square = effect * layer.share  # how the ratio changes with ln mean(phi²) at m
        if start is not None and l <= len(layers):
            sign = (m == l - 1) - (m == len(layers))
            of_square += sign
            mean += sign * layer.log_square
        variance += of_square**2 * layer.noise.square
        if below:
            mean += layer.log_slope
            variance += layer.noise.slope + 2 * of_square * layer.noise.covariance
        effect = below * layer.slope_elasticity + of_square * layer.elasticity
        variance += effect**2 * layer.radius
    if start is not None and l == 1 and layers:
        mean += start
    return mean, variance
