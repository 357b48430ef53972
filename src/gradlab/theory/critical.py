"""The point at which a wide network keeps both its signal and its gradient, for any activation.

At a fixed point of the variance, q = sigma_w² h(q) + sigma_b², the squared error signal keeps its
size if chi_1 = sigma_w² m(q) = 1 (Schoenholz et al. 2017, eq. 5), with h = E phi², m = E phi'².
Both hold on a line, which q itself measures out (`Line`):

    sigma_w² = 1 / m(q),     sigma_b² = q - h(q) / m(q)

A point serves only if the variance stays there: V'(q) = h'(q) / m(q) must not exceed 1. Where it is
1 on the line the point is half-stable (Roberts, Yaida & Hanin 2022, section 5.3.4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import root_scalar

from gradlab.errors import PredictionError
from gradlab.reference.activations import Activation, Array
from gradlab.theory.gauss import average, nodes

GRID = np.geomspace(1e-6, 1e6, 241)
NEAR_0 = np.geomspace(1e-6, 1e-2, 9)
LEAST = 1e-16  # a variance that stands for the limit 0
SAME = 1e-9


@dataclass(frozen=True)
class Point:
    """A critical point.

    Attributes:
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².
        q: the fixed point of the variance; 0 if it is approached slowly, from above.
        every: every variance is one, as ReLU's; `q` is then 1.
    """

    sigma_w: float
    sigma_b: float
    q: float
    every: bool

    def first(self, square: float) -> float:
        """Return n_0 Var W_1 that gives z_1 the variance q, for inputs of mean square `square`."""
        free = self.every or self.q == 0
        return self.sigma_w**2 if free else (self.q - self.sigma_b**2) / square


@dataclass(frozen=True)
class Line:
    """Of an activation: what makes a variance q a critical fixed point, and whether it attracts."""

    phi: Activation

    def sigma_w_2(self, q: float) -> float:
        """Return sigma_w² = 1 / m(q)."""
        return 1 / average(lambda z: self.phi.derivative(z) ** 2, q)

    def sigma_b_2(self, q: float) -> float:
        """Return sigma_b² = q - h(q) / m(q); below 0 there is no such network."""
        return q - self.sigma_w_2(q) * average(lambda z: self.phi.f(z) ** 2, q)

    def pull(self, q: float) -> float:
        """Return V'(q) = h'(q) / m(q) on the line, with h' = E phi² (x² - 1) / (2 q)."""
        x, w = nodes()
        slope = float(w @ (self.phi.f(np.sqrt(q) * x) ** 2 * (x**2 - 1))) / (2 * q)
        return self.sigma_w_2(q) * slope


@lru_cache(maxsize=64)
def at_criticality(phi: Activation, sigma_b: float | None = None) -> Point:
    """Return the critical point of an activation: of this sigma_b, or of the least there is.

    Raises:
        PredictionError: there is none.
    """
    line = Line(phi)
    with np.errstate(all="ignore"):
        found = None if sigma_b else _without_biases(line)
        if found is None:
            found = _of_bias(line, sigma_b or 0.0)
        if found is None and sigma_b is None:
            found = _half_stable(line)
    if found is None:
        given = "" if sigma_b is None else f" with sigma_b={sigma_b:g}"
        raise PredictionError(
            f"{phi.name} has no critical point{given}: at every fixed point of the variance "
            "gradients vanish or explode, or the variance runs away"
        )
    return found


def _without_biases(line: Line) -> Point | None:
    """Return the point where all q stay, or the one at q = 0 if small ones do not grow."""
    sigma_w_2 = line.sigma_w_2(LEAST)
    if not 0 < sigma_w_2 < np.inf:
        return None
    growth = sigma_w_2 * _over(NEAR_0, line) / NEAR_0
    if (np.abs(sigma_w_2 * _over(GRID, line) / GRID - 1) < SAME).all():
        return Point(float(np.sqrt(sigma_w_2)), 0.0, 1.0, every=True)
    # h / q must tend to m as q does to 0, or phi(0) is not 0.
    if abs(growth[0] - 1) < 0.01 and (growth <= 1 + SAME).all():
        return Point(float(np.sqrt(sigma_w_2)), 0.0, 0.0, every=False)
    return None


def _over(qs: Array, line: Line) -> Array:
    return np.array([average(lambda z: line.phi.f(z) ** 2, float(q)) for q in qs])


def _of_bias(line: Line, sigma_b: float) -> Point | None:
    """Return the stable point of this sigma_b with the least q."""
    excess = np.array([line.sigma_b_2(float(q)) for q in GRID]) - sigma_b**2
    for k in np.flatnonzero(excess[:-1] * excess[1:] < 0):
        q = _root(lambda q: line.sigma_b_2(q) - sigma_b**2, int(k))
        if line.pull(q) <= 1 + SAME:
            return Point(float(np.sqrt(line.sigma_w_2(q))), sigma_b, q, every=False)
    return None


def _half_stable(line: Line) -> Point | None:
    """Return the point of least sigma_b at which the variance's map just touches q."""
    pull = np.array([line.pull(float(q)) for q in GRID]) - 1
    found: list[tuple[float, float]] = []
    for k in np.flatnonzero((pull[:-1] > SAME) & (pull[1:] < -SAME)):
        q = _root(lambda q: line.pull(q) - 1, int(k))
        if line.sigma_b_2(q) > 0:
            found.append((line.sigma_b_2(q), q))
    if not found:
        return None
    sigma_b_2, q = min(found)
    return Point(float(np.sqrt(line.sigma_w_2(q))), float(np.sqrt(sigma_b_2)), q, every=False)


def _root(f: Callable[[float], float], k: int) -> float:
    return float(root_scalar(f, bracket=(GRID[k], GRID[k + 1]), rtol=1e-13).root)
