"""Averages over Gaussian pre-activations, and the noise of a layer of finite width.

`average` and `Moments` compute E f(z) for z ~ N(0, q) by quadrature. The panels get narrower
towards 0, where activations bend. So the result is accurate even if f changes over only 1e-8 of
sqrt(q).

`Noise` is the noise that the n units of a layer add to the logarithm of a signal, to first order in
1/n. For a given length, the pre-activations z of a layer are uniform on a sphere: this holds for
independent weights and for a random rotation. `Variance.radius` follows the length from layer to
layer. `Noise` is the rest: averages over units without their regression on Σ z², whose variance is
2 n q²:

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
        PredictionError: the name is not an activation of gradlab.
    """
    if name not in ACTIVATIONS:
        raise PredictionError(f"activation={name} is not known; {nearest(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]


@contextmanager
def refuse_overflow() -> Generator[None]:
    """Raise PredictionError where numbers overflow, or where a logarithm of 0 would be taken.

    Raises:
        PredictionError: the block overflowed.
    """
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except ArithmeticError as error:
        raise PredictionError(
            "the signals of this network, or their squares, exceed the range of float64, so they "
            "cannot be predicted: choose fewer layers, or another initialisation"
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
        slope: m = E phi'², the factor by which a layer multiplies ‖error signal‖².
        mean_var: Var phi.
        square_var: Var phi².
        mean_of_slope: E phi'.
        cov_mean_square: Cov(phi, phi²).
        fourth: E phi'⁴ / m².
        cov_square_slope: Cov(phi², phi'²) / m.
        cov_mean_slope: Cov(phi, phi'²) / m.
        mean_1, mean_2: first and second derivative of E phi in q.
        square_1, square_2: first and second derivative of h in q.
        log_slope_1, log_slope_2: first and second derivative of ln m in q.
    """

    # attributes: averages of the same values of phi, computed once.

    def __init__(self, phi: Activation, q: float) -> None:
        x, w = nodes()
        a = phi.f(np.sqrt(q) * x)
        value, slope = a**2, phi.derivative(np.sqrt(q) * x) ** 2
        self.q, self.mean = q, float(w @ a)
        self.square, self.slope = float(w @ value), float(w @ slope)
        self.mean_var = float(w @ (a - self.mean) ** 2)
        self.square_var = float(w @ (value - self.square) ** 2)
        self.cov_mean_square = float(w @ ((a - self.mean) * (value - self.square)))
        self.fourth = float(w @ slope**2) / self.slope**2
        self.cov_square_slope = float(w @ ((value - self.square) * slope)) / self.slope
        self.cov_mean_slope = float(w @ ((a - self.mean) * slope)) / self.slope
        # d/dq E f = E [f (x² - 1)] / (2 q); the second derivative likewise.
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
    def slope_noise(self) -> float:
        """Return 3 E phi'⁴ / m² - 1 (5 for ReLU: Hanin & Nica 2020, theorem 1).

        A layer of n units with independent weights adds this variance, divided by n, to ln ‖error
        signal‖².
        """
        return 3 * self.fourth - 1

    @property
    def slope_z_square(self) -> float:
        """Return E (z phi')² / (q m): 1 if phi'² and z² are uncorrelated, as for ReLU."""
        return 1 + 2 * self.q * self.log_slope_1


class Noise:
    """The noise of a layer's n units: variances and shifts of logarithms.

    Attributes:
        square: variance of ln of the mean of phi².
        slope: variance of ln of ‖phi' ∘ W^T delta‖² / ‖delta‖².
        covariance: the covariance of both.
        square_shift: relative shift of the mean of phi².
        slope_shift: relative shift of the mean of phi'².
    """

    def __init__(self, m: Moments, n: int, back: float) -> None:
        """Compute the noise.

        Args:
            m: the moments of the activation.
            n: the width.
            back: the variance of ln ‖W^T delta‖².
        """
        h_1, m_1 = m.q * m.square_1 / m.square, m.q * m.log_slope_1
        self.square = (m.square_var / m.square**2 - 2 * h_1**2) / n
        self.slope = (3 * (m.fourth - 1) - 2 * m_1**2) / n + back
        self.covariance = (m.cov_square_slope / m.square - 2 * h_1 * m_1) / n
        self.square_shift = -(m.q**2) * m.square_2 / m.square / n
        self.slope_shift = -(m.q**2) * (m.log_slope_2 + m.log_slope_1**2) / n
