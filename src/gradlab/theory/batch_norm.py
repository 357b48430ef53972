"""Batch normalisation before the activation.

Over a large batch every unit's u_l has mean 0 and variance 1, and Var z_{l+1} = s_{l+1} Var phi(u):
biases and the mean of phi fall out. The squared error signal therefore grows, a layer, by

    s E phi'² / (s Var phi) = E phi'(u)² / Var phi(u),     u ~ N(0, 1)

pi / (pi - 1) for ReLU, 1.21 in the norm, and 1 for a straight line alone (Yang, Pennington, Rao,
Sohl-Dickstein & Schoenholz 2019, section 3). In a batch of B samples, to first order in 1/B,

    1 / Var z is B / (B - 3) on average, since B - 1 numbers make each unit's variance;
    u lies on a sphere and its values repel each other: E phi'² and Var phi change with it;
    normalisation removes from the signal, unit by unit, its mean, (1 - (E phi')² / m) / B of the
    square (1 / B below the output layer, which leaves the signal its mean), and its part along u,
    E (u phi')² / m / B.

Spread: what n units do to B samples, (1 + 3 E phi'⁴ / m²) / (n B), and what n units do to error
signals that n_L outputs have made alike, 2 rho^{2k} / (n n_L) k layers below them, with rho =
(E phi')² / m. Assumed are inputs with mean 0 over the batch, and a loss whose error signals are not
alike over it (a balanced classification's). Left out: corrections of order 1/n to the growth.
"""

from collections.abc import Sequence

import numpy as np

from gradlab.errors import PredictionError
from gradlab.reference.activations import Activation
from gradlab.theory.frame import Prediction
from gradlab.theory.gauss import Moments
from gradlab.theory.variance import Variance

LEAST = 8
"""Samples: with fewer, first order in 1/B says nothing."""


class Batch:
    """What a batch of B samples makes of an activation: phi at u of mean 0 and variance 1.

    Attributes:
        slope: E phi'².
        variance: Var phi over the batch.
        square: E phi².
        inverse: E (1 / Var z) over 1 / E Var z.
        linear: rho, the part of phi' that is alike for all samples.
        along: the part of a signal that lies along u, times B.
        spread: n times a layer's variance of ln ‖error signal‖².
    """

    def __init__(self, phi: Activation, samples: float) -> None:
        m, B = Moments(phi, 1.0), samples
        slope_1 = m.mean_of_slope
        curve = m.square_2 - 2 * (m.mean_1**2 + m.mean * m.mean_2)  # of Var phi, in q
        self.slope = m.slope * (1 - (m.log_slope_2 + m.log_slope_1**2) / B)
        self.variance = m.mean_var + (slope_1**2 - curve) / B
        self.square = m.square
        self.inverse = 1 / (1 - 3 / B)
        self.linear = slope_1**2 / m.slope
        self.along = m.alike
        self.samples = B
        self.spread = (1 + 3 * m.fourth) / B

    @property
    def growth(self) -> float:
        """Return by what a layer multiplies ‖error signal‖²."""
        removed = (1 - self.linear + self.along) / self.samples
        return self.slope / self.variance * self.inverse * (1 - removed)


def batch_norm(
    phi: Activation, maps: Sequence[Variance], input_rms: float, samples: int | None
) -> Prediction:
    """Return the prediction for a plain network with batch normalisation before the activation.

    Raises:
        PredictionError: the batch is too small for this theory.
    """
    if samples is not None and samples < LEAST:
        raise PredictionError(
            f"batch={samples} has no prediction with norm=batch: expected at least {LEAST}"
        )
    of, last = Batch(phi, samples or np.inf), len(maps)
    inputs = [input_rms**2, *[of.square] * (last - 1)]
    scale = [v.scale(square) for v, square in zip(maps, inputs, strict=True)]
    varied = [input_rms**2, *[of.variance] * (last - 1)]
    z = [s * square for s, square in zip(scale, varied, strict=True)]
    norm = [*(of.inverse / each for each in z[:-1]), 1.0]
    delta = [(0.0, 0.0)]
    for l in range(last - 1, 0, -1):
        k, n = last - 1 - l, maps[l].n_in
        variance = (of.spread + 2 * of.linear ** (2 * k) / maps[-1].n_out) / n
        removed = (of.along + 1 - of.linear * (k > 0)) / of.samples
        step = np.log(scale[l] * of.slope * norm[l - 1] * (1 - removed)) - variance / 2
        delta.append((delta[-1][0] + float(step), delta[-1][1] + variance))
    delta.reverse()
    # Signals are centred over the batch, except the last one's: so is then what they meet.
    met = [v.n_in * square for v, square in zip(maps, [*varied[:-1], inputs[-1]], strict=True)]
    return Prediction(
        preact=[*[1.0] * (last - 1), scale[-1] * inputs[-1] + maps[-1].bias],
        act=[*[of.slope] * (last - 1), 1.0],
        weight=scale,
        norm=norm,
        delta=delta,
        grad=[(d + float(np.log(a / met[-1])), v) for (d, v), a in zip(delta, met, strict=True)],
    )
