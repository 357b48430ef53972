"""The phase of wide networks at initialisation (ordered, critical, chaotic), and critical points.

Let Var W = sigma_w² / fan_in and Var b = sigma_b². A layer maps the variance q of its
pre-activations to V(q) = sigma_w² h(q) + sigma_b² (Poole et al. 2016, eq. 3). It multiplies the
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
LEAST = 1e-16
"""A variance that stands for the limit 0."""
TOLERANCE = 1e-9


@dataclass(frozen=True)
class CriticalPoint:
    """A critical point.

    Attributes:
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².
        q: the fixed point of the variance; 0 if the variance approaches 0 slowly.
        every_variance: whether every variance is a fixed point, as for ReLU; `q` is then 1.
    """

    sigma_w: float
    sigma_b: float
    q: float
    every_variance: bool

    def first_layer_scale(self, square: float) -> float:
        """Return n_0 Var W_1 that gives z_1 the variance q, for inputs of mean square `square`."""
        free = self.every_variance or self.q == 0
        return self.sigma_w**2 if free else (self.q - self.sigma_b**2) / square


@dataclass(frozen=True)
class CriticalLine:
    """The critical line of an activation, with the variance q as parameter."""

    phi: Activation

    def sigma_w_2(self, q: float) -> float:
        """Return sigma_w² = 1 / m(q)."""
        return 1 / average(lambda z: self.phi.derivative(z) ** 2, q)

    def sigma_b_2(self, q: float) -> float:
        """Return sigma_b² = q - h(q) / m(q); below 0 the line has no network at q."""
        return q - self.sigma_w_2(q) * average(lambda z: self.phi.f(z) ** 2, q)

    def variance_slope(self, q: float) -> float:
        """Return V'(q) = h'(q) / m(q) on the line, with h' = E phi² (x² - 1) / (2 q)."""
        x, w = nodes()
        slope = float(w @ (self.phi.f(np.sqrt(q) * x) ** 2 * (x**2 - 1))) / (2 * q)
        return self.sigma_w_2(q) * slope


@lru_cache(maxsize=64)
def find_critical_point(phi: Activation, sigma_b: float | None = None) -> CriticalPoint:
    """Return the critical point of an activation: with this sigma_b, or with the smallest possible.

    Raises:
        PredictionError: the activation has no such point.
    """
    line = CriticalLine(phi)
    with np.errstate(all="ignore"):
        point = None if sigma_b else _point_without_bias(line)
        if point is None:
            point = _point_with_bias(line, sigma_b or 0.0)
        if point is None and sigma_b is None:
            point = _half_stable_point(line)
    if point is None:
        given = "" if sigma_b is None else f" with sigma_b={sigma_b:g}"
        raise PredictionError(
            f"{phi.name} has no critical point{given}: at every fixed point of the variance "
            "gradients vanish or explode, or the variance does not stay there"
        )
    return point


def _point_without_bias(line: CriticalLine) -> CriticalPoint | None:
    """Return the point at which every q is fixed, or the point q = 0 if small q do not grow."""
    sigma_w_2 = line.sigma_w_2(LEAST)
    if not 0 < sigma_w_2 < np.inf:
        return None
    growth = sigma_w_2 * _squares(NEAR_0, line) / NEAR_0
    if (np.abs(sigma_w_2 * _squares(GRID, line) / GRID - 1) < TOLERANCE).all():
        return CriticalPoint(float(np.sqrt(sigma_w_2)), 0.0, 1.0, every_variance=True)
    # For q -> 0, h / q must approach m; else phi(0) is not 0.
    if abs(growth[0] - 1) < 0.01 and (growth <= 1 + TOLERANCE).all():
        return CriticalPoint(float(np.sqrt(sigma_w_2)), 0.0, 0.0, every_variance=False)
    return None


def _squares(qs: Array, line: CriticalLine) -> Array:
    """Return h(q) for each q."""
    return np.array([average(lambda z: line.phi.f(z) ** 2, float(q)) for q in qs])


def _point_with_bias(line: CriticalLine, sigma_b: float) -> CriticalPoint | None:
    """Return the stable point of this sigma_b with the smallest q."""
    excess = np.array([line.sigma_b_2(float(q)) for q in GRID]) - sigma_b**2
    for k in np.flatnonzero(excess[:-1] * excess[1:] < 0):
        q = _root(lambda q: line.sigma_b_2(q) - sigma_b**2, int(k))
        if line.variance_slope(q) <= 1 + TOLERANCE:
            return CriticalPoint(
                float(np.sqrt(line.sigma_w_2(q))), sigma_b, q, every_variance=False
            )
    return None


def _half_stable_point(line: CriticalLine) -> CriticalPoint | None:
    """Return the point of smallest sigma_b at which V(q) touches q without crossing."""
    variance_slope = np.array([line.variance_slope(float(q)) for q in GRID]) - 1
    found: list[tuple[float, float]] = []
    for k in np.flatnonzero((variance_slope[:-1] > TOLERANCE) & (variance_slope[1:] < -TOLERANCE)):
        q = _root(lambda q: line.variance_slope(q) - 1, int(k))
        if line.sigma_b_2(q) > 0:
            found.append((line.sigma_b_2(q), q))
    if not found:
        return None
    sigma_b_2, q = min(found)
    return CriticalPoint(
        float(np.sqrt(line.sigma_w_2(q))), float(np.sqrt(sigma_b_2)), q, every_variance=False
    )


def _root(f: Callable[[float], float], k: int) -> float:
    return float(root_scalar(f, bracket=(GRID[k], GRID[k + 1]), rtol=1e-13).root)


CRITICAL = 1e-6
"""The largest |chi_1 - 1| of a critical network: a depth scale of a million layers."""
MAX_LAYERS = 20_000
HUGE, TINY = 1e12, 1e-12
"""Variances that count as infinite and as 0."""
TERMS = 400
"""Terms of the Hermite expansion of a two-point function."""


@dataclass(frozen=True)
class Phase:
    """The fixed point of wide networks, and the depth scales of gradients and correlations.

    Attributes:
        q_star: the fixed point of the variance; inf if the variance grows forever, 0 if it decays.
        chi_1: the factor by which a layer multiplies ‖error signal‖² at the fixed point.
        xi_grad: number of layers in which the gradient's square changes by a factor e, 1 / |ln
            chi_1|.
        xi_c: number of layers in which the correlation of two inputs approaches its fixed point by
            a factor e.
        c_star: the fixed point of the correlation that is stable against small changes.
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
        scale = "" if self.phase == "critical" else f", a factor e in {self.xi_grad:.3g} layers"
        return (
            f"{self.phase}: each layer multiplies the squared error signal by {self.chi_1:.4g}"
            f"{scale}; the pre-activations have the variance {self.q_star:.4g}"
        )

    def _repr_html_(self) -> str:
        """Return the numbers as a table for a notebook."""
        rows = [[name, cell(value)] for name, value in vars(self).items()]
        return notebook_html(str(self), PageTable(["quantity", "value"], rows))


def phase(activation: str, sigma_w: float, sigma_b: float = 0.0) -> Phase:
    """Return the phase of wide networks at initialisation: ordered, critical or chaotic.

    In the ordered phase, gradients vanish with the depth; in the chaotic phase, they explode. At
    the critical point between the phases, they keep their size.

    Source: Schoenholz et al. 2017, eqs. 5, 9 and 11.

    Args:
        activation: the name of the activation, such as "tanh".
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².

    Returns:
        The phase; the variance q* of the pre-activations that deep layers approach; chi_1, the
        factor by which a layer multiplies the mean square of the gradient; and the numbers of
        layers in which gradients and differences between samples change by a factor e.

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
    # For q* = 0 or infinity, use a small or a large variance.
    q_used = min(max(q, LEAST), HUGE)
    chi_1 = sigma_w**2 * average(lambda z: phi.derivative(z) ** 2, q_used)
    growth = length_map(phi, q_used, sigma_w, sigma_b) / q_used  # 1, unless q* is 0 or infinite
    c_star, chi_c = 1.0, chi_1 / growth
    if chi_c > 1 + CRITICAL:
        c_star, chi_c = _correlation(phi, sigma_w, sigma_b, q_used)
    name = "critical" if abs(chi_1 - 1) < CRITICAL else "ordered" if chi_1 < 1 else "chaotic"
    return Phase(q, chi_1, _depth_scale(chi_1), _depth_scale(chi_c), c_star, name)


def _depth_scale(chi: float) -> float:
    """Return the number of layers in which chi^l changes by a factor e."""
    return float("inf") if abs(chi - 1) < CRITICAL else float(1 / abs(np.log(chi)))


def length_map(phi: Activation, q: float, sigma_w: float, sigma_b: float) -> float:
    """Return V(q), the variance of the next layer's pre-activations (Poole et al. 2016, eq. 3).

    Args:
        phi: the activation.
        q: the variance of this layer's pre-activations.
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².

    Returns:
        sigma_w² E phi(z)² + sigma_b², z ~ N(0, q).
    """
    return sigma_w**2 * average(lambda z: phi.f(z) ** 2, q) + sigma_b**2


def fixed_point(phi: Activation, sigma_w: float, sigma_b: float) -> float:
    """Return the fixed point q* = V(q*) that the variance reaches from q = 1.

    If V is a straight line through 0, as for ReLU at sigma_w² = 2, every q is a fixed point, and
    the result is 1.

    Args:
        phi: the activation.
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².

    Returns:
        q*; inf if the variance grows forever, 0 if it decays to 0.
    """
    q = before = 1.0
    for _ in range(MAX_LAYERS):
        before, q = q, length_map(phi, q, sigma_w, sigma_b)
        if abs(q - before) <= 1e-13 * q:
            return q
        if q > HUGE:
            return float("inf")
        if q < TINY:
            return 0.0
    # Only a q* = 0 with V'(0) = 1 is approached so slowly, as for tanh at sigma_w = 1.
    return 0.0 if q < before else q


def critical_sigma_w(activation: str, sigma_b: float = 0.0) -> tuple[float, float]:
    """Return (sigma_w, q*) of the critical line: chi_1 = 1 at a q* = V(q*) that attracts.

    Raises:
        PredictionError: no such point exists for this sigma_b.
    """
    point = find_critical_point(find_activation(activation), float(sigma_b))
    return point.sigma_w, point.q


def _correlation(phi: Activation, sigma_w: float, sigma_b: float, q: float) -> tuple[float, float]:
    """Return c* below 1 and the slope of the correlation map there.

    E f(u) f(v) of two Gaussians with variance q and correlation c is Σ_k a_k² c^k. The a_k are the
    Hermite coefficients of f(sqrt(q) x). The map is this sum divided by V(q), which is q at a fixed
    point (Schoenholz et al. 2017, eqs. 4 and 9).

    Args:
        phi: the activation.
        sigma_w: Var W = sigma_w² / fan_in.
        sigma_b: Var b = sigma_b².
        q: the variance of the pre-activations.

    Returns:
        c* and the slope.
    """
    after_q = length_map(phi, q, sigma_w, sigma_b)
    values, slopes = (_hermite(f, q) ** 2 for f in (phi.f, phi.derivative))
    powers = np.arange(TERMS)
    # The terms that the expansion leaves out count only near c = 1.
    rest = average(lambda z: phi.f(z) ** 2, q) - values.sum()
    c = 0.0
    for _ in range(MAX_LAYERS):
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
