"""Finite differences: the derivative without calculus, and the limits of its accuracy.

    one-sided   (f(x + h) - f(x)) / h             truncation error h |f''| / 2
    two-sided   (f(x + h) - f(x - h)) / (2 h)     truncation error h² |f'''| / 6

Rounding adds an error of sigma / h, where sigma is the noise in f. The sum of both errors is
smallest near h = eps^(1/2) (one-sided) and h = eps^(1/3) (two-sided). The unit of h is the scale
over which f bends (Nocedal & Wright 2006, section 8.1; Gill, Murray & Wright 1981, section 8.6).

A function f takes no argument: it reads an array. The functions here change one element of that
array in place, call f, and restore the element.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial

import numpy as np

from gradlab.reference.activation_functions import Array

Evaluate = Callable[[], float]
Index = tuple[int, ...]

EPS = float(np.finfo(np.float64).eps)
NOISE = 15.0
"""The bound on rounding, in units of sigma, which is known to a factor of 2."""
POWERS = {"two_sided": 1 / 3, "one_sided": 1 / 2}
"""h is eps to this power, times the scale of the element."""


@dataclass(frozen=True)
class Difference:
    """The derivative of f with respect to one element.

    Attributes:
        value: the finite difference.
        left: the slope between x - h and x.
        right: the slope between x and x + h.
        noise: a bound on the rounding error of `value`.
    """

    value: float
    left: float
    right: float
    noise: float

    @property
    def jump(self) -> float:
        """The right slope minus the left slope: h f'' for a smooth f."""
        return self.right - self.left


def scale_of(array: Array, index: Index, typical: float | None = None) -> float:
    """Return the scale of an element: its absolute value, or `typical` if that is larger.

    A small weight of a network whose signals have order 1 still bends the loss over about 1. So its
    scale is 1 and not its value (Dennis & Schnabel 1983, section 5.4).

    Args:
        array: the array that f reads.
        index: the element.
        typical: the size at which such an element matters; None: the array's root mean square.

    Returns:
        The scale; 1 for an array of zeros.
    """
    if typical is None:
        typical = float(np.sqrt(np.mean(array**2)))
    return max(abs(float(array[index])), typical) or 1.0


def step_size(
    array: Array, index: Index, scheme: str = "two_sided", typical: float | None = None
) -> float:
    """Return the step h with the smallest total error, to an order of magnitude.

    Args:
        array: the array that f reads.
        index: the element.
        scheme: "two_sided" or "one_sided".
        typical: as in `scale_of`.

    Returns:
        h = eps^(1/3) or eps^(1/2), times the scale of the element.
    """
    return EPS ** POWERS[scheme] * scale_of(array, index, typical)


def difference(
    f: Evaluate, array: Array, index: Index, h: float, scheme: str = "two_sided", sigma: float = 0.0
) -> Difference:
    """Return the finite difference of f with respect to `array[index]`.

    Args:
        f: reads `array` and returns a number.
        array: the array; it is changed in place and restored.
        index: the element.
        h: the step.
        scheme: "two_sided" or "one_sided".
        sigma: the standard deviation of the noise in f.

    Returns:
        The difference, the slopes on both sides, and a bound on the rounding error.
    """
    x = float(array[index])
    # The steps are differences of floats, so x + up and x - down are exact.
    up, down = (x + h) - x, x - (x - h)
    try:
        middle = f()
        array[index] = x + up
        above = f()
        array[index] = x - down
        below = f()
    finally:
        array[index] = x
    left, right = (middle - below) / down, (above - middle) / up
    value = right if scheme == "one_sided" else (above - below) / (up + down)
    return Difference(value, left, right, NOISE * sigma / h)


def noise_of(f: Evaluate, array: Array, points: int = 9) -> float:
    """Estimate the standard deviation of the rounding noise in f, from a table of differences.

    f is evaluated at `points` arrays, at distances of 2^14 roundings. The k-th differences of a
    smooth f vanish. For noise with standard deviation sigma, their mean square is
    sigma² (2k)! / (k!)² (Moré & Wild 2011, section 2).

    Args:
        f: reads `array` and returns a number.
        array: the array; it is changed in place and restored.
        points: the number of evaluations.

    Returns:
        The estimate; at least half a rounding of f.
    """
    original = array.copy()
    ramp = np.where(np.indices(array.shape).sum(axis=0) % 2, 1.0, -1.0)  # moves all elements
    unit = 2**14 * EPS * (np.abs(original) + (np.sqrt(np.mean(original**2)) or 1.0)) * ramp
    values: list[float] = []
    try:
        for i in range(points):
            array[...] = original + i * unit
            values.append(f())
    finally:
        array[...] = original
    estimates = [EPS / 2 * max(map(abs, values))]
    for k in (3, 4, 5):
        mean_square = float(np.mean(np.diff(values, n=k) ** 2))
        estimates.append(float(np.sqrt(mean_square * factorial(k) ** 2 / factorial(2 * k))))
    return max(estimates)
