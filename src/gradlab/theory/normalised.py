"""Networks in which every layer has one variance: LSUV and normalisation layers.

**LSUV, and normalisation over a sample's units (`layer`, `rms`).** Every activation receives a
vector of the same length, so noise does not pass from layer to layer. Take one sample, h = E phi²
and m = E phi'² at that variance q. Then ‖delta_l‖² is ‖delta_{l+1}‖² times m and

    LSUV (Mishkin & Matas 2016), q = gain²:      weight_factor² = gain² / mean(a_l²)
    layer, rms (Ba et al. 2016; Zhang & Sennrich 2019), q = 1:
        weight_factor² = s_{l+1},                norm_factor² = 1 / Var z_l,
        Var z_l = s_l mean(a_{l-1}²) + Var b_l

The means are averages over the network's units, so they are noisy. A normalisation also removes
parts of the error signal: the part along u, a fraction E (u phi')² / (m n), and with `layer` the
mean over the units, a fraction 1/n.

LSUV scales with the whole batch. The formulas for one sample hold if all samples of the batch have
the same length, q_l = gain² each. They include the mean over a sample's units, which LSUV's
variance leaves out. In a batch this mean matters less.

**Batch normalisation before the activation.** Over a large batch, u_l of every unit has mean 0 and
variance 1, and Var z_{l+1} = s_{l+1} Var phi(u): biases and the mean of phi cancel. So a layer
multiplies the squared error signal by

    s E phi'² / (s Var phi) = E phi'(u)² / Var phi(u),     u ~ N(0, 1)

This is pi / (pi - 1) for ReLU (1.21 for the norm), and 1 only for a linear activation (Yang,
Pennington, Rao, Sohl-Dickstein & Schoenholz 2019, section 3). In a batch of B samples, to first
order in 1/B:

- 1 / Var z has the mean B / (B - 3), because B - 1 numbers determine each unit's variance.
- u lies on a sphere and its values repel each other, which changes E phi'² and Var phi.
- Normalisation removes the mean of a unit's error signal, a fraction (1 - (E phi')² / m) / B of the
  square. Below the output layer, which does not remove the mean, it is 1 / B.
- Normalisation removes the part of the error signal along u, a fraction E (u phi')² / m / B.

Spread: n units add (1 + 3 E phi'⁴ / m²) / (n B) over B samples. The n_L outputs make the samples'
error signals similar. This adds 2 rho^{2k} / (n n_L) at k layers below, with rho = (E phi')² / m.

Assumptions: the inputs have mean 0 over the batch, and the error signals of the loss differ over
the batch, as in a balanced classification. Corrections of order 1/n to the growth are left out.
"""

from collections.abc import Sequence

import numpy as np

from gradlab.errors import PredictionError
from gradlab.reference.activation_functions import Activation
from gradlab.theory.frame import Prediction
from gradlab.theory.moments import Moments, Noise
from gradlab.theory.plain import parallel_part
from gradlab.theory.variance import Variance


class _FixedVariance:
    """The terms of ln (‖delta_l‖ / ‖delta_L‖)² if every layer has the variance q."""

    # attributes: the terms of one sum; each is used for every layer.

    def __init__(
        self, phi: Activation, maps: Sequence[Variance], input_rms: float, norm: str
    ) -> None:
        """Compute the terms that all layers share.

        Args:
            phi: the activation.
            maps: the variances of W_1..W_L and their biases.
            input_rms: the root mean square of a sample's features.
            norm: "layer", "rms", or "none" for LSUV.
        """
        self.maps, self.norm, self.last = maps, norm, len(maps)
        scaled = maps[0].fixed
        self.lsuv = scaled is not None
        self.m = Moments(phi, 1.0 if norm != "none" or scaled is None else scaled)
        inputs = [input_rms**2, *[self.m.square] * (self.last - 1)]
        self.scale = [v.scale(square) for v, square in zip(maps, inputs, strict=True)]
        self.z = [s * sq + v.bias for s, sq, v in zip(self.scale, inputs, maps, strict=True)]
        self.share = [s * sq / z for s, sq, z in zip(self.scale, inputs, self.z, strict=True)]
        self.noise = [Noise(self.m, v.n_in, v.back) for v in maps[1:]]
        normed = norm != "none"
        moments = [self.m] * (self.last - 1)
        self.parallel = (
            [(0.0, 0.0)] * self.last if normed else parallel_part(moments, maps, self.share)
        )
        self.start = np.log(maps[0].n_in * input_rms**2)

    def log_length(self, l: int) -> tuple[float, float]:
        """Return the mean and the variance of ln of ‖z_l‖² / n_l over its average.

        LSUV, and the norm "layer", subtract the mean over the units from z.
        """
        v = self.maps[l - 1]
        n, variance = v.n_out, v.radius(self.share[l - 1])
        centred = n > 1 and (self.norm == "layer" or self.lsuv)
        return (np.log1p(-1 / n) if centred else 0.0) - variance / 2, variance

    def log_square(self, l: int) -> float:
        """Return the mean of ln (mean(a_l²) / h)."""
        noise, m = self.noise[l - 1], self.m
        return (
            noise.square_shift
            - noise.square / 2
            + self.excess_length(l) * m.q * m.square_1 / m.square
        )

    def excess_length(self, l: int) -> float:
        """Return how far ‖u_l‖² / n_l exceeds q, relative: LSUV's variance leaves the mean out."""
        return 1 / self.maps[l - 1].n_out if self.lsuv and self.norm == "none" else 0.0

    def log_step(self, l: int) -> float:
        """Return the mean of ln ‖delta_l‖² / ‖delta_{l+1}‖², without the noise of the lengths."""
        noise, m, v = self.noise[l - 1], self.m, self.maps[l]
        norm = self.norm != "none"
        # W_{l+1} returns no part along a_l: the norm has removed it from delta_{l+1}.
        missing = (1 - v.orthogonal + m.cov_square_slope / m.square) / v.n_in * self.share[l]
        tied = -missing if norm and l + 1 < self.last else 0.0
        removed = m.slope_z_square / v.n_in + (self.norm == "layer") / v.n_in if norm else 0.0
        remaining = np.log1p(-min(removed, 0.5))
        slope = np.log(m.slope) + noise.slope_shift + self.excess_length(l) * m.q * m.log_slope_1
        return slope - noise.slope / 2 + tied + remaining

    def log_ratio(self, l: int, gradients: bool) -> tuple[float, float]:
        """Return mean and variance of ln (‖delta_l‖ / ‖delta_L‖)², or of weight gradients."""
        ln, variance = self.parallel[l - 1]
        effect = np.zeros(self.last + 1)  # how the ratio changes with ln mean(a_k²)
        for k in range(l, self.last):
            ln += self.log_step(k) + np.log(self.scale[k])
            variance += self.noise[k - 1].slope
            # LSUV has divided W_{k+1} by the length of z_{k+1}; a norm divides z_k.
            for at, wanted in ((k + 1, self.lsuv), (k, self.norm != "none" and not self.lsuv)):
                if not wanted:
                    continue
                mean, spread = self.log_length(at)
                ln -= mean
                variance += spread
                effect[at - 1] -= self.share[at - 1]
            if self.norm != "none":
                ln -= np.log(self.z[k - 1])
        if gradients and l < self.last:
            effect[l - 1] += 1
            effect[self.last - 1] -= 1
            ln += self.start if l == 1 else np.log(self.maps[l - 1].n_in * self.m.square)
            ln -= np.log(self.maps[-1].n_in * self.m.square)
        for k in range(1, self.last):
            ln += effect[k] * self.log_square(k)
            variance += effect[k] ** 2 * self.noise[k - 1].square
            variance += 2 * effect[k] * self.noise[k - 1].covariance * (k >= l)
        return float(ln), float(variance)


def normalised_network(
    phi: Activation, maps: Sequence[Variance], input_rms: float, norm: str
) -> Prediction:
    """Return the prediction for networks with LSUV, or with the norm "layer" or "rms".

    Args:
        phi: the activation.
        maps: the variances of W_1..W_L and their biases.
        input_rms: the root mean square of a sample's features.
        norm: "layer", "rms", or "none" for LSUV.

    Returns:
        The prediction for one sample.
    """
    terms = _FixedVariance(phi, maps, input_rms, norm)
    last = len(maps)
    normed = [norm != "none"] * (last - 1) + [False]
    return Prediction(
        preact=[1.0 if n else z for n, z in zip(normed, terms.z, strict=True)],
        act=[terms.m.slope] * (last - 1) + [1.0],
        weight=terms.scale,
        norm=[1 / z if n else 1.0 for n, z in zip(normed, terms.z, strict=True)],
        delta=[terms.log_ratio(l, gradients=False) for l in range(1, last + 1)],
        grad=[terms.log_ratio(l, gradients=True) for l in range(1, last + 1)],
    )


MIN_BATCH = 8
"""The smallest batch for which the first order in 1/B is accurate enough."""


class BatchStatistics:
    """The averages of an activation over a batch of B samples, at u with mean 0 and variance 1.

    Attributes:
        slope: E phi'².
        variance: Var phi over the batch.
        square: E phi².
        inverse: E (1 / Var z), divided by 1 / E Var z.
        linear: rho = (E phi')² / m, the part of phi' that is equal for all samples.
        along: the part of an error signal that lies along u, times B.
        spread: n times a layer's variance of ln ‖error signal‖².
        samples: B.
    """

    def __init__(self, phi: Activation, samples: float) -> None:
        m, B = Moments(phi, 1.0), samples
        slope_1 = m.mean_of_slope
        curve = m.square_2 - 2 * (m.mean_1**2 + m.mean * m.mean_2)  # (Var phi)''
        self.slope = m.slope * (1 - (m.log_slope_2 + m.log_slope_1**2) / B)
        self.variance = m.mean_var + (slope_1**2 - curve) / B
        self.square = m.square
        self.inverse = 1 / (1 - 3 / B)
        self.linear = slope_1**2 / m.slope
        self.along = m.slope_z_square
        self.samples = B
        self.spread = (1 + 3 * m.fourth) / B

    @property
    def growth(self) -> float:
        """Return the factor by which a layer multiplies ‖error signal‖²."""
        removed = (1 - self.linear + self.along) / self.samples
        return self.slope / self.variance * self.inverse * (1 - removed)


def batch_norm_network(
    phi: Activation, maps: Sequence[Variance], input_rms: float, samples: int | None
) -> Prediction:
    """Return the prediction for a plain network with batch normalisation before the activation.

    Args:
        phi: the activation.
        maps: the variances of W_1..W_L and their biases.
        input_rms: the root mean square of a sample's features.
        samples: the samples of a batch; None for the limit of many.

    Returns:
        The prediction for norms over the batch.

    Raises:
        PredictionError: the batch is too small for this theory.
    """
    if samples is not None and samples < MIN_BATCH:
        raise PredictionError(
            f"batch={samples} has no prediction with norm=batch: expected at least {MIN_BATCH}"
        )
    stats, last = BatchStatistics(phi, samples or np.inf), len(maps)
    inputs = [input_rms**2, *[stats.square] * (last - 1)]
    scale = [v.scale(square) for v, square in zip(maps, inputs, strict=True)]
    varied = [input_rms**2, *[stats.variance] * (last - 1)]
    z = [s * square for s, square in zip(scale, varied, strict=True)]
    norm = [*(stats.inverse / each for each in z[:-1]), 1.0]
    delta = [(0.0, 0.0)]
    for l in range(last - 1, 0, -1):
        k, n = last - 1 - l, maps[l].n_in
        variance = (stats.spread + 2 * stats.linear ** (2 * k) / maps[-1].n_out) / n
        removed = (stats.along + 1 - stats.linear * (k > 0)) / stats.samples
        step = np.log(scale[l] * stats.slope * norm[l - 1] * (1 - removed)) - variance / 2
        delta.append((delta[-1][0] + float(step), delta[-1][1] + variance))
    delta.reverse()
    # All error signals but the last have mean 0 over the batch, so only the last meets a mean.
    met = [v.n_in * square for v, square in zip(maps, [*varied[:-1], inputs[-1]], strict=True)]
    return Prediction(
        preact=[*[1.0] * (last - 1), scale[-1] * inputs[-1] + maps[-1].bias],
        act=[*[stats.slope] * (last - 1), 1.0],
        weight=scale,
        norm=norm,
        delta=delta,
        grad=[(d + float(np.log(a / met[-1])), v) for (d, v), a in zip(delta, met, strict=True)],
    )
