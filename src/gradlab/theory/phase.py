"""Where wide networks stand at initialisation: ordered, critical or chaotic.

With Var W = sigma_w² / fan_in and Var b = sigma_b², a layer maps the variance q of its
pre-activations to V(q) = sigma_w² E phi(z)² + sigma_b², z ~ N(0, q) (Poole et al. 2016, eq. 3), and
multiplies the squared error signal by chi_1 = sigma_w² E phi'(z)² (Schoenholz et al. 2017, eq. 5).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradlab.errors import PredictionError
from gradlab.reference.activations import Activation, Array
from gradlab.theory.activation import find
from gradlab.theory.critical import LEAST, at_criticality
from gradlab.theory.gauss import average, nodes

CRITICAL = 1e-6  # |chi_1 - 1| below this is criticality: a depth scale of a million layers
MOST = 20_000  # layers
HUGE, TINY = 1e12, 1e-12  # variances taken for infinite, and for 0
TERMS = 400  # of the Hermite expansion of a two-point function


@dataclass(frozen=True)
class Phase:
    """The fixed point of wide networks, and the scales, in layers, on which they forget.

    Attributes:
        q_star: the fixed point of the variance; inf if it grows without end, 0 if it dies out.
        chi_1: by what a layer multiplies ‖error signal‖² there.
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


def phase(activation: str, sigma_w: float, sigma_b: float = 0.0) -> Phase:
    """Return the fixed point and the phase of wide networks of an activation.

    >>> phase("relu", 2**0.5).phase
    'critical'

    Schoenholz et al. 2017, eqs. 5, 9 and 11.

    Raises:
        PredictionError: the activation is unknown, or a sigma is not a number in range.
    """
    phi = find(activation)
    if not (0 < sigma_w < np.inf and 0 <= sigma_b < np.inf):
        raise PredictionError(
            f"expected sigma_w above 0 and sigma_b of at least 0, given {sigma_w} and {sigma_b}"
        )
    q = fixed_point(phi, sigma_w, sigma_b)
    # At the ends the limits are those of a small and of a large variance.
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
    point = at_criticality(find(activation), float(sigma_b))
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
