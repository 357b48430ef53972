"""Finite differences: the slow derivative that needs no calculus, and how far it can be trusted.

    one-sided   (f(x + h) - f(x)) / h             truncation h |f''| / 2
    two-sided   (f(x + h) - f(x - h)) / (2 h)     truncation h² |f'''| / 6

Both lose sigma / h to rounding, where sigma is the noise in f. The sum of the two errors is least
near h = eps^(1/2) and h = eps^(1/3), in units of the scale over which f bends (Nocedal & Wright
2006, section 8.1; Gill, Murray & Wright 1981, section 8.6).

Functions take no argument: they are evaluated at the array that they read, which is changed in
place, one element at a time, and restored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial

import numpy as np

from gradlab.reference.activation_functions import Array

Evaluate = Callable[[], float]
Index = tuple[int, ...]

EPS = float(np.finfo(np.float64).eps)
NOISE = 15.0  # times sigma, itself known to a factor of 2, is what rounding is allowed
POWERS = {"two_sided": 1 / 3, "one_sided": 1 / 2}
"""h is eps to this power, times the element's scale."""


@dataclass(frozen=True)
class Difference:
    """The derivative of f with respect to one element.

    Attributes:
        value: the finite difference.
        left: the slope between x - h and x.
        right: the slope between x and x + h.
        noise: a bound on what rounding does to `value`.
    """

    value: float
    left: float
    right: float
    noise: float

    @property
    def jump(self) -> float:
        """The slope from the right less that from the left: h f'' for a smooth f."""
        return self.right - self.left


def scale_of(array: Array, index: Index, typical: float | None = None) -> float:
    """Return the scale of an element: its size, or `typical` if that is larger.

    `typical` is the size at which such an element matters (Dennis & Schnabel 1983, section 5.4). A
    weight of a network whose signals are of order 1 bends the loss over about 1, however small it
    is itself. If None, the array's root mean square; 1 for zeros.
    """
    if typical is None:
        typical = float(np.sqrt(np.mean(array**2)))
    return max(abs(float(array[index])), typical) or 1.0


def step_size(
    array: Array, index: Index, scheme: str = "two_sided", typical: float | None = None
) -> float:
    """Return the h of least error for an element, to an order of magnitude."""
    return EPS ** POWERS[scheme] * scale_of(array, index, typical)


def difference(
    f: Evaluate, array: Array, index: Index, h: float, scheme: str = "two_sided", sigma: float = 0.0
) -> Difference:
    """Return the finite difference of f in `array[index]`; `sigma` is the noise in f."""
    x = float(array[index])
    # The step is a difference of floats, so x + h is exact.
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
    """Return the noise in f: how much of a value is rounding, estimated from a difference table.

    f is read at `points` arrays, 2^14 roundings between them; k-th differences of smooth f vanish,
    and of noise of size sigma have a mean square of sigma² (2k)! / (k!)² (Moré & Wild 2011, section
    2). At least half a rounding of f itself.
    """
    original = array.copy()
    ramp = np.where(np.indices(array.shape).sum(axis=0) % 2, 1.0, -1.0)  # not along one element
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
