"""Averages over Gaussian pre-activations, and the noise of a layer of finite width.

`average` and `Moments` compute E f(z) for z ~ N(0, q) by quadrature. The panels get narrower
towards 0, where activations bend and kink: a function whose features are 1e-8 of sqrt(q) wide is
integrated as accurately as a smooth one.

`Noise` is what the n units of a layer add to the logarithm of a signal, to first order in 1/n. The
pre-activations z of a layer are isotropic: for a given length, z is uniform on a sphere, for
independent weights and for a random rotation. The length is followed from layer to layer
(`Variance.radius`). `Noise` is the rest: the averages over units without their regression on Σ z²,
whose variance is 2 n q²:

    Var mean(phi²) = [Var phi² - 2 q² h'²] / n,       h = E phi²,   m = E phi'²
    Cov(mean(phi²), mean(phi'²)) = [Cov(phi², phi'²) - 2 q² h' m'] / n
    Var of Σ (phi' g)² / (m ‖g‖²) = [3 (E phi'⁴ / m² - 1) - 2 (q m' / m)²] / n

for a gradient g of any direction. The means are lower by q² h'' / n and q² m'' / n.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache

import numpy as np

from gradlab.errors import PredictionError, nearest
from gradlab.reference.activation_functions import ACTIVATIONS, Activation, Array


def find_activation(name: str) -> Activation:
    """Return an activation by name.

    Raises:
        PredictionError: it is not one of gradlab's own.
    """
    if name not in ACTIVATIONS:
        raise PredictionError(f"activation={name} is not known; {nearest(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]


@contextmanager
def in_range() -> Generator[None]:
    """Raise where numbers overflow, or at the logarithm of an exact 0.

    Raises:
        PredictionError: they do.
    """
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except ArithmeticError as error:
        raise PredictionError(
            "the signals of this network, or their squares, leave what float64 can hold: there is "
            "no prediction; choose fewer layers, or another initialisation"
        ) from error


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

    # attributes: averages of the same values of phi, computed once for all of them.

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
    def slope_z_square(self) -> float:
        """Return E (z phi')² / (q m): 1 if slopes know nothing of z², as ReLU's."""
        return 1 + 2 * self.q * self.log_slope_1


class Noise:
    """Of a layer's n units, relative to the averages: variances of logarithms, and shifts.

    Attributes:
        square: variance of ln of the mean of phi².
        slope: variance of ln of ‖phi' ∘ W^T delta‖² / ‖delta‖².
        both: their covariance.
        square_shift: of the mean of phi², relative.
        slope_shift: of the mean of phi'², relative.
    """

    def __init__(self, m: Moments, n: int, back: float) -> None:
        """Take the moments, the width, and the variance of ln ‖W^T delta‖²."""
        h_1, m_1 = m.q * m.square_1 / m.square, m.q * m.log_slope_1
        self.square = (m.square_var / m.square**2 - 2 * h_1**2) / n
        self.slope = (3 * (m.fourth - 1) - 2 * m_1**2) / n + back
        self.both = (m.both / m.square - 2 * h_1 * m_1) / n
        self.square_shift = -(m.q**2) * m.square_2 / m.square / n
        self.slope_shift = -(m.q**2) * (m.log_slope_2 + m.log_slope_1**2) / n
