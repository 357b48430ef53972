"""Networks that are held at one variance: LSUV, and normalisation over a sample's own units.

What the activation receives has the same length in every layer, exactly, so that no layer's noise
is carried further. For one sample, with h = E phi², m = E phi'² at that variance q, the squared
error signal of layer l is that of l+1 times m and

    LSUV (Mishkin & Matas 2016), q = gain²:      weight_factor² = gain² / mean(a_l²)
    layer, rms (Ba et al. 2016; Zhang & Sennrich 2019), q = 1:
        weight_factor² = s_{l+1},                norm_factor² = 1 / Var z_l,
        Var z_l = s_l mean(a_{l-1}²) + Var b_l

where the means are those of the network at hand, and noisy. A normalisation also removes from the
signal its part along u, n^-1 E (u phi')² / m of it, and layer's its mean over the units, 1/n.

LSUV scales by the whole batch: what is said here of one sample holds if the batch's samples are all
of one length, q_l = gain² each. The mean over a sample's units, which its variance leaves out, is
counted for one sample; in a batch it matters less.
"""

from collections.abc import Sequence

import numpy as np

from gradlab.reference.activations import Activation
from gradlab.theory.aligned import plain
from gradlab.theory.frame import Prediction
from gradlab.theory.gauss import Moments
from gradlab.theory.noise import Noise
from gradlab.theory.variance import Variance


class _Held:
    """The terms of ln (‖delta_l‖ / ‖delta_L‖)² for a network held at q."""

    def __init__(
        self, phi: Activation, maps: Sequence[Variance], input_rms: float, norm: str
    ) -> None:
        self.maps, self.norm, self.last = maps, norm, len(maps)
        scaled = maps[0].held
        self.lsuv = scaled is not None
        self.m = Moments(phi, 1.0 if norm != "none" or scaled is None else scaled)
        inputs = [input_rms**2, *[self.m.square] * (self.last - 1)]
        self.scale = [v.scale(square) for v, square in zip(maps, inputs, strict=True)]
        self.z = [s * sq + v.bias for s, sq, v in zip(self.scale, inputs, maps, strict=True)]
        self.share = [s * sq / z for s, sq, z in zip(self.scale, inputs, self.z, strict=True)]
        self.noise = [Noise(self.m, v.n_in, v.back) for v in maps[1:]]
        normed = norm != "none"
        moments = [self.m] * (self.last - 1)
        self.aligned = [(0.0, 0.0)] * self.last if normed else plain(moments, maps, self.share)
        self.start = np.log(maps[0].n_in * input_rms**2)

    def length(self, l: int) -> tuple[float, float]:
        """Return the mean and the variance of ln of ‖z_l‖² / n_l over its average.

        A mean over the units is taken out of z by LSUV, and by the norm "layer".
        """
        v = self.maps[l - 1]
        n, variance = v.n_out, v.radius(self.share[l - 1])
        centred = n > 1 and (self.norm == "layer" or self.lsuv)
        return (np.log1p(-1 / n) if centred else 0.0) - variance / 2, variance

    def log_square(self, l: int) -> float:
        """Return the mean of ln of the mean of a_l² over h."""
        noise, m = self.noise[l - 1], self.m
        return noise.square_shift - noise.square / 2 + self.longer(l) * m.q * m.square_1 / m.square

    def longer(self, l: int) -> float:
        """Return by how much ‖u_l‖² / n_l is above q: LSUV's variance leaves the mean out."""
        return 1 / self.maps[l - 1].n_out if self.lsuv and self.norm == "none" else 0.0

    def step(self, l: int) -> float:
        """Return the mean of ln ‖delta_l‖² / ‖delta_{l+1}‖² without that of noisy lengths."""
        noise, m, v = self.noise[l - 1], self.m, self.maps[l]
        norm = self.norm != "none"
        # W_{l+1} brings nothing back along a_l: the norm has removed it from delta_{l+1}.
        missing = (1 - v.orthogonal + m.both / m.square) / v.n_in * self.share[l]
        tied = -missing if norm and l + 1 < self.last else 0.0
        removed = m.alike / v.n_in + (self.norm == "layer") / v.n_in if norm else 0.0
        kept = np.log1p(-min(removed, 0.5))
        slope = np.log(m.slope) + noise.slope_shift + self.longer(l) * m.q * m.log_slope_1
        return slope - noise.slope / 2 + tied + kept

    def between(self, l: int, gradients: bool) -> tuple[float, float]:
        """Return mean and variance of ln (‖delta_l‖ / ‖delta_L‖)², or of the weight gradients'."""
        ln, variance = self.aligned[l - 1]
        felt = np.zeros(self.last + 1)  # of ln of the mean of a_k²
        for k in range(l, self.last):
            ln += self.step(k) + np.log(self.scale[k])
            variance += self.noise[k - 1].slope
            # LSUV has divided W_{k+1} by the length of its output; else a norm divides z_k.
            for at, wanted in ((k + 1, self.lsuv), (k, self.norm != "none" and not self.lsuv)):
                if not wanted:
                    continue
                mean, spread = self.length(at)
                ln -= mean
                variance += spread
                felt[at - 1] -= self.share[at - 1]
            if self.norm != "none":
                ln -= np.log(self.z[k - 1])
        if gradients and l < self.last:
            felt[l - 1] += 1
            felt[self.last - 1] -= 1
            ln += self.start if l == 1 else np.log(self.maps[l - 1].n_in * self.m.square)
            ln -= np.log(self.maps[-1].n_in * self.m.square)
        for k in range(1, self.last):
            ln += felt[k] * self.log_square(k)
            variance += felt[k] ** 2 * self.noise[k - 1].square
            variance += 2 * felt[k] * self.noise[k - 1].both * (k >= l)
        return float(ln), float(variance)


def held(phi: Activation, maps: Sequence[Variance], input_rms: float, norm: str) -> Prediction:
    """Return the prediction for LSUV's networks, and for the norms "layer" and "rms"."""
    terms = _Held(phi, maps, input_rms, norm)
    last = len(maps)
    normed = [norm != "none"] * (last - 1) + [False]
    return Prediction(
        preact=[1.0 if n else z for n, z in zip(normed, terms.z, strict=True)],
        act=[terms.m.slope] * (last - 1) + [1.0],
        weight=terms.scale,
        norm=[1 / z if n else 1.0 for n, z in zip(normed, terms.z, strict=True)],
        delta=[terms.between(l, gradients=False) for l in range(1, last + 1)],
        grad=[terms.between(l, gradients=True) for l in range(1, last + 1)],
    )
