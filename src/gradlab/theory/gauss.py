"""Averages over Gaussian pre-activations, by quadrature.

E f(z) for z ~ N(0, q). The panels are graded towards 0, where activations bend and kink: a function
whose features are 1e-8 of sqrt(q) wide is integrated as well as a smooth one.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from gradlab.reference.activations import Activation, Array

REACH, NEAR, PANELS, NODES = 12.0, 1e-8, 48, 10


@cache
def nodes() -> tuple[Array, Array]:
    """Return nodes x and weights w with Σ w f(x) = E f(x), x ~ N(0, 1)."""
    edges = np.concatenate([[0.0], np.geomspace(NEAR, REACH, PANELS)])
    node, weight = np.polynomial.legendre.leggauss(NODES)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * node).ravel()
    w = (half[:, None] * weight).ravel() * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return np.concatenate([-x[::-1], x]), np.concatenate([w[::-1], w])


def average(f: Callable[[Array], Array], q: float) -> float:
    """Return E f(z), z ~ N(0, q)."""
    x, w = nodes()
    return float(w @ f(np.sqrt(q) * x))


class Moments:
    """The averages of an activation at pre-activation variance q, and their derivatives in q.

    Attributes:
        square: h = E phi².
        slope: m = E phi'², what a layer does to ‖error signal‖².
        square_var: Var phi².
        slope_spread: 3 E phi'⁴ / m² - 1, n times the variance of what a layer of n units does to
            ln ‖error signal‖² (5 for ReLU: Hanin & Nica 2020, theorem 1).
        both: Cov(phi², phi'²) / m.
    """

    def __init__(self, phi: Activation, q: float) -> None:
        x, w = nodes()
        value, slope = phi.f(np.sqrt(q) * x) ** 2, phi.derivative(np.sqrt(q) * x) ** 2
        self.square, self.slope = float(w @ value), float(w @ slope)
        self.square_var = float(w @ (value - self.square) ** 2)
        self.slope_spread = float(3 * (w @ slope**2) / self.slope**2 - 1)
        self.both = float(w @ ((value - self.square) * slope)) / self.slope
        # d/dq E f = E [f (x² - 1)] / (2 q), and again: Hermite polynomials take derivatives.
        second, fourth = x**2 - 1, x**4 - 6 * x**2 + 3
        self.square_1 = float(w @ (value * second)) / (2 * q)
        self.square_2 = float(w @ (value * fourth)) / (4 * q**2)
        slope_1 = float(w @ (slope * second)) / (2 * q)
        slope_2 = float(w @ (slope * fourth)) / (4 * q**2)
        self.log_slope_1 = slope_1 / self.slope
        self.log_slope_2 = slope_2 / self.slope - self.log_slope_1**2
