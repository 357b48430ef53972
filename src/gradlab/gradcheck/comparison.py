"""Compares the analytic gradient of one array with finite differences, element by element.

Let a be the analytic and n the numeric derivative of an element. The element is *wrong* if
|a - n| / max(|a|, |n|, floor) > tolerance, with floor = noise / tolerance. So a wrong element
differs by more than the tolerance, and by more than rounding explains. If both |a| and |n| are
below the floor, the comparison decides nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradlab.gradcheck.gradient_report import Options, Row
from gradlab.reference.activation_functions import Array
from gradlab.reference.differences import (
    Difference,
    Evaluate,
    Index,
    difference,
    noise_of,
    step_size,
)

SHRINK = (8.0, 64.0, 512.0, 4096.0)  # divisors of a step that may cross a kink


def compare(
    name: str,
    f: Evaluate,
    array: Array,
    analytic: Array | None,
    options: Options,
    skip: int | None = None,
) -> Row:
    """Compare the gradient of f with respect to an array with finite differences.

    Args:
        name: the name of the array.
        f: returns the value of the function at the current values of `array`.
        array: float64, any shape; changed in place and restored.
        analytic: the gradient to check, in the shape of `array`; None means 0.
        options: the options of the check.
        skip: the index of a row without a gradient by design; its elements are not checked.

    Returns:
        The result for this array.
    """
    if analytic is None:
        analytic = np.zeros_like(array)
    if analytic.shape != array.shape:
        problem = f"shape {list(analytic.shape)}, expected {list(array.shape)}"
        return Row(name, array.size, problem=problem, wrong=True)
    if not np.isfinite(analytic).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(analytic))[0])
        return Row(name, array.size, where=at, problem=f"{analytic[at]} at {list(at)}", wrong=True)
    sigma = noise_of(f, array)
    compared: list[tuple[float, Index, float, float]] = []
    kinks = unresolved = 0
    indices = [each for each in sample(analytic, options) if skip is None or each[0] != skip]
    for index in indices:
        a, first = float(analytic[index]), _difference_at(f, array, index, options, sigma)
        best = (
            first
            if _agree(a, first, options)
            else _refine(a, first, f, array, index, options, sigma)
        )
        if best is None:
            kinks += 1
            continue
        error, is_below_floor = _relative_error(a, best, options)
        unresolved += is_below_floor
        compared.append((error, index, a, best.value))
    if not compared:
        return Row(name, array.size, len(indices), kinks=kinks, unresolved=unresolved)
    errors = [error for error, *_ in compared]
    worst, where, a, n = max(compared, key=lambda each: each[0])
    return Row(
        name=name,
        size=array.size,
        checked=len(indices),
        worst=worst,
        median=float(np.median(errors)),
        where=where,
        analytic=a,
        numeric=n,
        kinks=kinks,
        unresolved=unresolved,
        wrong=worst > options.tolerance,
    )


def sample(analytic: Array, options: Options) -> Sequence[Index]:
    """Return the indices to check: all, or a random sample with the gradient's largest element."""
    count = analytic.size
    if options.only is not None:
        return [options.only]
    if options.samples is None or options.samples >= count:
        flat = np.arange(count)
    else:
        drawn = np.random.default_rng(options.seed).choice(count, options.samples, replace=False)
        drawn[0] = np.abs(analytic).argmax()
        flat = np.unique(drawn)
    return [tuple(int(i) for i in np.unravel_index(each, analytic.shape)) for each in flat]


def _difference_at(
    f: Evaluate, array: Array, index: Index, options: Options, sigma: float, shrink: float = 1.0
) -> Difference:
    """Return the finite difference of f at one element.

    Args:
        f: returns the value of the function at the current values of `array`.
        array: float64, any shape.
        index: the element.
        options: the options of the check.
        sigma: the noise of f.
        shrink: the divisor of the step size.

    Returns:
        The difference, with an estimate of its noise.
    """
    h = step_size(array, index, options.scheme, options.typical) / shrink
    return difference(f, array, index, h, options.scheme, sigma)


def _relative_error(a: float, d: Difference, options: Options) -> tuple[float, bool]:
    """Return the relative error of an element.

    Args:
        a: the analytic derivative.
        d: the finite difference.
        options: the options of the check.

    Returns:
        The error, and whether both derivatives are below the floor.
    """
    noise = max(d.noise, options.rounding)
    floor = noise / options.tolerance if options.floor is None else options.floor
    size = max(abs(a), abs(d.value))
    return abs(a - d.value) / max(size, floor, np.finfo(float).tiny), size < floor


def _agree(a: float, d: Difference, options: Options) -> bool:
    """Return whether both derivatives of an element agree within the tolerance.

    Args:
        a: the analytic derivative.
        d: the finite difference.
        options: the options of the check.

    Returns:
        True if they agree.
    """
    return _relative_error(a, d, options)[0] <= options.tolerance


def _refine(
    a: float,
    first: Difference,
    f: Evaluate,
    array: Array,
    index: Index,
    options: Options,
    sigma: float,
) -> Difference | None:
    """Compare an element that disagrees again, with other steps.

    Let the jump be the right slope minus the left slope. Where f is smooth, the jump is h f'', so
    it shrinks with the step. If the element is at a kink, no step makes the jump smaller, and the
    gradient does not exist. If a kink is near, the jump vanishes for steps that do not reach it;
    the analytic derivative is then one of both slopes or between them.

    Args:
        a: the analytic derivative.
        first: the finite difference with the usual step.
        f: returns the value of the function at the current values of `array`.
        array: float64, any shape.
        index: the element.
        options: the options of the check.
        sigma: the noise of f.

    Returns:
        The finite difference to compare with, None if f has a kink within ±h of the element.
    """
    if _relative_error(a, first, options)[1]:
        # The value may be rounding error above the estimate. A longer step has less rounding error
        # and then gives another value.
        far = _difference_at(f, array, index, options, sigma, 1 / SHRINK[0])
        noise = max(first.noise, 3 * abs(first.value - far.value))
        first = replace(first, noise=noise)
        if _agree(a, first, options):
            return first
    off, jump = abs(a - first.value), abs(first.jump)
    slack = first.noise + jump / 100
    between = min(first.left, first.right) - slack <= a <= max(first.left, first.right) + slack
    smooth = True
    for shrink in SHRINK:
        near = _difference_at(f, array, index, options, sigma, shrink)
        if abs(near.jump) > max(jump / 2, 10 * near.noise):
            return None
        smooth = abs(abs(near.jump) * shrink - jump) <= jump / 2
        if near.noise > off / 10:
            break  # too noisy to decide
        if _agree(a, near, options):
            return near if smooth else None
    return None if between and not smooth else first
