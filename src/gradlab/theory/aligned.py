"""The part of an error signal that is aligned with the signal itself.

The weights that made z = W a also carry delta back, and W^T delta · a = z · delta exactly. What is
aligned is multiplied, a layer, by another number than the rest: on the way back by V'(q) instead of
chi_1 (Roberts, Yaida & Hanin 2022, section 5.1: chi_parallel and chi_perpendicular). It is 1/n of
the square at the output, and that is a correction of order 1/n; where V' > chi_1, as of GELU, or in
a residual network whose units have a mean, it grows with depth until it rules.

Two numbers are followed from the last layer back, relative to the square that the averages give:

    d = ‖delta_l‖²,     t = (z_l · delta_l)² / q_l

Both are linear in those of the layer behind: of delta_L, t is x², x ~ N(0, 1), over networks.
"""

from collections.abc import Sequence

import numpy as np

from gradlab.reference.activations import Array
from gradlab.theory.gauss import Moments, nodes
from gradlab.theory.variance import Variance


def log_of(pair: Array) -> tuple[float, float]:
    """Return mean and variance over networks of ln (a + b x²), x ~ N(0, 1), from [a, b]."""
    x, w = nodes()
    values = np.log(np.maximum(pair[0] + pair[1] * x**2, 1e-300))
    mean = float(w @ values)
    return mean, float(w @ (values - mean) ** 2)


def plain(
    moments: Sequence[Moments], maps: Sequence[Variance], shares: Sequence[float]
) -> list[tuple[float, float]]:
    """Return `log_of` d, l = 1..L, of a plain network.

    Where V' = chi_1, as of ReLU, t keeps its size, and what it makes d vary by is part of the
    layers' own noise: only what it makes beyond that is counted.

    Args:
        moments: of the hidden layers.
        maps: W_1..W_L.
        shares: the part of q_l that comes from the weights and not from biases, l = 1..L.
    """
    d, t, counted = np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.0
    found = [(0.0, 0.0)]
    for m, after, share in zip(moments[::-1], maps[:0:-1], shares[:0:-1], strict=True):
        n, e = after.n_in, m.q * m.square_1 / m.square
        along = share * t / n  # ‖W^T delta‖², of it the part along a
        rest = d - (along if after.orthogonal else d / n)
        c, r = m.both / m.square, m.square / (m.q * m.slope) * e**2
        d, t = rest * (1 - c / n) + along * (1 + c), r * n * along + rest * (m.alike - r)
        counted += (1 + c) / n
        beyond = max(float(d[1]) - counted, 0.0)
        found.append(log_of(np.array([d.sum() - beyond, beyond])))
    return found[::-1]
