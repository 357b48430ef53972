"""The phase of wide networks at initialisation (ordered, critical, chaotic), and critical points.

With Var W = sigma_w² / fan_in and Var b = sigma_b², a layer maps the variance q of its
pre-activations to V(q) = sigma_w² h(q) + sigma_b² (Poole et al. 2016, eq. 3), and multiplies the
squared error signal by chi_1 = sigma_w² m(q) (Schoenholz et al. 2017, eq. 5). Here h = E phi(z)²
and m = E phi'(z)² for z ~ N(0, q).

At a critical point, q = V(q) and chi_1 = 1: signal and gradient both keep their size. The critical
points of an activation form a line with parameter q (`CriticalLine`):

    sigma_w² = 1 / m(q),     sigma_b² = q - h(q) / m(q)

A point is useful only if the variance stays there: V'(q) = h'(q) / m(q) must not exceed 1. A point
with V'(q) = 1 is half-stable (Roberts, Yaida & Hanin 2022, section 5.3.4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import root_scalar

from gradlab.errors import PredictionError
from gradlab.pages.numbers import cell
from gradlab.pages.page import PageTable, notebook_html
from gradlab.reference.activation_functions import Activation, Array
from gradlab.theory.moments import average, find_activation, nodes

GRID = np.geomspace(1e-6, 1e6, 241)
NEAR_0 = np.geomspace(1e-6, 1e-2, 9)
LEAST = 1e-16  # a variance that stands for the limit 0
SAME = 1e-9


@dataclass(frozen=True)
class CriticalPoint:
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
class CriticalLine:
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
def at_criticality(phi: Activation, sigma_b: float | None = None) -> CriticalPoint:
    """Return the critical point of an activation: of this sigma_b, or of the least there is.

    Raises:
        PredictionError: there is none.
    """
    line = CriticalLine(phi)
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


def _without_biases(line: CriticalLine) -> CriticalPoint | None:
    """Return the point where all q stay, or the one at q = 0 if small ones do not grow."""
    sigma_w_2 = line.sigma_w_2(LEAST)
    if not 0 < sigma_w_2 < np.inf:
        return None
    growth = sigma_w_2 * _over(NEAR_0, line) / NEAR_0
    if (np.abs(sigma_w_2 * _over(GRID, line) / GRID - 1) < SAME).all():
        return CriticalPoint(float(np.sqrt(sigma_w_2)), 0.0, 1.0, every=True)
    # h / q must tend to m as q does to 0, or phi(0) is not 0.
    if abs(growth[0] - 1) < 0.01 and (growth <= 1 + SAME).all():
        return CriticalPoint(float(np.sqrt(sigma_w_2)), 0.0, 0.0, every=False)
    return None


def _over(qs: Array, line: CriticalLine) -> Array:
    return np.array([average(lambda z: line.phi.f(z) ** 2, float(q)) for q in qs])


def _of_bias(line: CriticalLine, sigma_b: float) -> CriticalPoint | None:
    """Return the stable point of this sigma_b with the least q."""
    excess = np.array([line.sigma_b_2(float(q)) for q in GRID]) - sigma_b**2
    for k in np.flatnonzero(excess[:-1] * excess[1:] < 0):
        q = _root(lambda q: line.sigma_b_2(q) - sigma_b**2, int(k))
        if line.pull(q) <= 1 + SAME:
            return CriticalPoint(float(np.sqrt(line.sigma_w_2(q))), sigma_b, q, every=False)
    return None


def _half_stable(line: CriticalLine) -> CriticalPoint | None:
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
    return CriticalPoint(
        float(np.sqrt(line.sigma_w_2(q))), float(np.sqrt(sigma_b_2)), q, every=False
    )


def _root(f: Callable[[float], float], k: int) -> float:
    return float(root_scalar(f, bracket=(GRID[k], GRID[k + 1]), rtol=1e-13).root)


CRITICAL = 1e-6  # |chi_1 - 1| below this is criticality: a depth scale of a million layers
MOST = 20_000  # layers
HUGE, TINY = 1e12, 1e-12  # variances taken for infinite, and for 0
TERMS = 400  # of the Hermite expansion of a two-point function


@dataclass(frozen=True)
class Phase:
    """The fixed point of wide networks, and the depth scales of gradients and correlations.

    Attributes:
        q_star: the fixed point of the variance; inf if the variance grows forever, 0 if it decays.
        chi_1: the factor by which a layer multiplies ‖error signal‖² at the fixed point.
        xi_grad: depth over which the gradient's square changes e-fold, 1 / |ln chi_1|.
        xi_c: depth over which two inputs' correlation nears its fixed point.
        c_star: that fixed point, stable against small changes.
        phase: "ordered" (gradients vanish), "critical" or "chaotic" (they explode).
    """

    q_star: float
    chi_1: float
    xi_grad: float
    xi_c: float
    c_star: float
    phase: str

    def __str__(self) -> str:
        """Return the phase and its numbers in a sentence."""
        scale = "" if self.phase == "critical" else f", e-fold in {self.xi_grad:.3g} layers"
        return (
            f"{self.phase}: the squared error signal times {self.chi_1:.4g} a layer{scale}, "
            f"at a variance of {self.q_star:.4g}"
        )

    def _repr_html_(self) -> str:
        """Return the numbers as a table for a notebook."""
        rows = [[name, cell(value)] for name, value in vars(self).items()]
        return notebook_html(str(self), PageTable(["quantity", "value"], rows))


def phase(activation: str, sigma_w: float, sigma_b: float = 0.0) -> Phase:
    """Return the fixed point and the phase of wide networks with an activation.

    Source: Schoenholz et al. 2017, eqs. 5, 9 and 11.

    Args:
        activation: the name of the activation, such as "tanh".
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².

    Returns:
        The fixed point q* of the variance, chi_1, the depth scales in layers, and the phase.

    Raises:
        PredictionError: the activation is unknown, sigma_w is not above 0, or sigma_b is negative.

    Example:
        >>> import gradlab
        >>> gradlab.phase("relu", sigma_w=2**0.5).phase
        'critical'
        >>> gradlab.phase("tanh", sigma_w=2.0).phase
        'chaotic'
    """
    phi = find_activation(activation)
    if not (0 < sigma_w < np.inf and 0 <= sigma_b < np.inf):
        raise PredictionError(
            f"expected sigma_w above 0 and sigma_b of at least 0, given {sigma_w} and {sigma_b}"
        )
    q = fixed_point(phi, sigma_w, sigma_b)
    # At q* of 0 or infinity, use a small or a large variance.
    at = min(max(q, LEAST), HUGE)
    chi_1 = sigma_w**2 * average(lambda z: phi.derivative(z) ** 2, at)
    growth = length_map(phi, at, sigma_w, sigma_b) / at  # 1, unless q* is 0 or infinite
    c_star, chi_c = 1.0, chi_1 / growth
    if chi_c > 1 + CRITICAL:
        c_star, chi_c = _correlation(phi, sigma_w, sigma_b, at)
    name = "critical" if abs(chi_1 - 1) < CRITICAL else "ordered" if chi_1 < 1 else "chaotic"
    return Phase(q, chi_1, _scale(chi_1), _scale(chi_c), c_star, name)


def _scale(chi: float) -> float:
    """Return the number of layers over which chi^l changes e-fold."""
    return float("inf") if abs(chi - 1) < CRITICAL else float(1 / abs(np.log(chi)))


def length_map(phi: Activation, q: float, sigma_w: float, sigma_b: float) -> float:
    """Return the variance of the next layer's pre-activations, V(q)."""
    return sigma_w**2 * average(lambda z: phi.f(z) ** 2, q) + sigma_b**2


def fixed_point(phi: Activation, sigma_w: float, sigma_b: float) -> float:
    """Return q* = V(q*), reached from q = 1; inf or 0 if the variance grows or shrinks for ever.

    Where V is a straight line through 0, as for ReLU at sigma_w² = 2, every q is one: 1.
    """
    q = before = 1.0
    for _ in range(MOST):
        before, q = q, length_map(phi, q, sigma_w, sigma_b)
        if abs(q - before) <= 1e-13 * q:
            return q
        if q > HUGE:
            return float("inf")
        if q < TINY:
            return 0.0
    # So slow is only q* = 0 that attracts to second order, such as tanh's at sigma_w = 1.
    return 0.0 if q < before else q


def critical_sigma_w(activation: str, sigma_b: float = 0.0) -> tuple[float, float]:
    """Return (sigma_w, q*) of the critical line: chi_1 = 1 at a q* = V(q*) that attracts.

    Raises:
        PredictionError: no such point exists for this sigma_b.
    """
    point = at_criticality(find_activation(activation), float(sigma_b))
    return point.sigma_w, point.q


def _correlation(phi: Activation, sigma_w: float, sigma_b: float, q: float) -> tuple[float, float]:
    """Return c* below 1 and the slope of the correlation map there (Schoenholz et al., eqs. 4, 9).

    E f(u) f(v) of two Gaussians of variance q and correlation c is Σ_k a_k² c^k, with a_k the
    Hermite coefficients of f(sqrt(q) x). Divided by V(q), which is q at a fixed point.
    """
    after_q = length_map(phi, q, sigma_w, sigma_b)
    values, slopes = (_hermite(f, q) ** 2 for f in (phi.f, phi.derivative))
    powers = np.arange(TERMS)
    # What the expansion leaves out is at c = 1 alone.
    rest = average(lambda z: phi.f(z) ** 2, q) - values.sum()
    c = 0.0
    for _ in range(MOST):
        after = (sigma_w**2 * (values @ c**powers + rest * c**TERMS) + sigma_b**2) / after_q
        if abs(after - c) < 1e-12:
            break
        c = float(after)
    return c, float(sigma_w**2 * (slopes @ c**powers) * q / after_q)


def _hermite(f: Callable[[Array], Array], q: float) -> Array:
    """Return a_k = E f(sqrt(q) x) He_k(x) / sqrt(k!), k < TERMS."""
    x, w = nodes()
    values = w * f(np.sqrt(q) * x)
    before, now = np.zeros_like(x), np.ones_like(x)
    out = [values.sum()]
    for k in range(1, TERMS):
        before, now = now, (x * now - np.sqrt(k - 1) * before) / np.sqrt(k)
        out.append(float(values @ now))
    return np.array(out)
