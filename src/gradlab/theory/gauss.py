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
        q: the variance.
        mean: E phi.
        square: h = E phi².
        slope: m = E phi'², what a layer does to ‖error signal‖².
        mean_var: Var phi.
        square_var: Var phi².
        mean_of_slope: E phi'.
        mean_square: Cov(phi, phi²).
        fourth: E phi'⁴ / m².
        both: Cov(phi², phi'²) / m.
        mean_slope: Cov(phi, phi'²) / m.
    """

    def __init__(self, phi: Activation, q: float) -> None:
        x, w = nodes()
        a = phi.f(np.sqrt(q) * x)
        value, slope = a**2, phi.derivative(np.sqrt(q) * x) ** 2
        self.q, self.mean = q, float(w @ a)
        self.square, self.slope = float(w @ value), float(w @ slope)
        self.mean_var = float(w @ (a - self.mean) ** 2)
        self.square_var = float(w @ (value - self.square) ** 2)
        self.mean_square = float(w @ ((a - self.mean) * (value - self.square)))
        self.fourth = float(w @ slope**2) / self.slope**2
        self.both = float(w @ ((value - self.square) * slope)) / self.slope
        self.mean_slope = float(w @ ((a - self.mean) * slope)) / self.slope
        # d/dq E f = E [f (x² - 1)] / (2 q), and again: Hermite polynomials take derivatives.
        second, fourth = x**2 - 1, x**4 - 6 * x**2 + 3
        self.mean_1 = float(w @ (a * second)) / (2 * q)
        self.mean_2 = float(w @ (a * fourth)) / (4 * q**2)
        self.mean_of_slope = float(w @ (a * x)) / np.sqrt(q)
        self.square_1 = float(w @ (value * second)) / (2 * q)
        self.square_2 = float(w @ (value * fourth)) / (4 * q**2)
        slope_1 = float(w @ (slope * second)) / (2 * q)
        slope_2 = float(w @ (slope * fourth)) / (4 * q**2)
        self.log_slope_1 = slope_1 / self.slope
        self.log_slope_2 = slope_2 / self.slope - self.log_slope_1**2

    @property
    def slope_spread(self) -> float:
        """Return 3 E phi'⁴ / m² - 1 (5 for ReLU: Hanin & Nica 2020, theorem 1).

        It is n times the variance of what a layer of n units and its independent weights do to
        ln ‖error signal‖².
        """
        return 3 * self.fourth - 1

    @property
    def alike(self) -> float:
        """Return E (z phi')² / (q m): 1 if slopes know nothing of z², as ReLU's."""
        return 1 + 2 * self.q * self.log_slope_1
