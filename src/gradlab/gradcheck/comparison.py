"""One array's analytic gradient against finite differences: which elements agree, and which can't.

An element is *wrong* when analytic a and numeric n differ by more than the tolerance, relative to
the larger of them, and by more than rounding explains. Both at once is |a - n| / max(|a|, |n|,
floor) > tolerance with floor = noise / tolerance: below the floor, a difference cannot tell.
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

SHRINK = (8.0, 64.0, 512.0, 4096.0)  # of a step that is too long, or crosses a kink


def compare(
    name: str,
    f: Evaluate,
    array: Array,
    analytic: Array | None,
    options: Options,
    skip: int | None = None,
) -> Row:
    """Compare the gradient of f with respect to `array` (float64, changed in place and restored).

    Args:
        name: of the array.
        f: the function, read at what the array holds.
        array: of any shape.
        analytic: the gradient to be checked; None stands for 0.
        options: how to check.
        skip: a row that has no gradient by design, and is left out.
    """
    if analytic is None:
        analytic = np.zeros_like(array)
    if analytic.shape != array.shape:
        said = f"shape {list(analytic.shape)}, expected {list(array.shape)}"
        return Row(name, array.size, problem=said, wrong=True)
    if not np.isfinite(analytic).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(analytic))[0])
        return Row(name, array.size, where=at, problem=f"{analytic[at]} at {list(at)}", wrong=True)
    sigma = noise_of(f, array)
    found: list[tuple[float, Index, float, float]] = []
    kinks = unresolved = 0
    indices = [each for each in sample(analytic, options) if skip is None or each[0] != skip]
    for index in indices:
        a, first = float(analytic[index]), _at(f, array, index, options, sigma)
        best = (
            first
            if _agree(a, first, options)
            else _closer(a, first, f, array, index, options, sigma)
        )
        if best is None:
            kinks += 1
            continue
        error, below = _relative(a, best, options)
        unresolved += below
        found.append((error, index, a, best.value))
    if not found:
        return Row(name, array.size, len(indices), kinks=kinks, unresolved=unresolved)
    errors = [error for error, *_ in found]
    worst, where, a, n = max(found, key=lambda each: each[0])
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
    """Return the indices to check: all, or a random sample and the gradient's largest element."""
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


def _at(
    f: Evaluate, array: Array, index: Index, options: Options, sigma: float, shrink: float = 1.0
) -> Difference:
    h = step_size(array, index, options.scheme, options.typical) / shrink
    return difference(f, array, index, h, options.scheme, sigma)


def _relative(a: float, d: Difference, options: Options) -> tuple[float, bool]:
    """Return the relative error, and whether both are below the floor."""
    noise = max(d.noise, options.rounding)
    floor = noise / options.tolerance if options.floor is None else options.floor
    size = max(abs(a), abs(d.value))
    return abs(a - d.value) / max(size, floor, np.finfo(float).tiny), size < floor


def _agree(a: float, d: Difference, options: Options) -> bool:
    return _relative(a, d, options)[0] <= options.tolerance


def _closer(
    a: float,
    first: Difference,
    f: Evaluate,
    array: Array,
    index: Index,
    options: Options,
    sigma: float,
) -> Difference | None:
    """Look closer at an element that disagrees; None if f has a kink within ±h of it.

    Over a smooth stretch the jump from the left slope to the right one is h f'', in proportion to
    the step. A jump that no step makes smaller is a kink at the point itself, where there is no
    gradient; one that a smaller step leaves behind is beside it, and the analytic gradient is then
    one of the slopes, or between them.
    """
    if _relative(a, first, options)[1]:
        # So small that it may be rounding, more of it than was estimated: a longer step, which has
        # less of it, then gives another value.
        far = _at(f, array, index, options, sigma, 1 / SHRINK[0])
        noise = max(first.noise, 3 * abs(first.value - far.value))
        first = replace(first, noise=noise)
        if _agree(a, first, options):
            return first
    off, jump = abs(a - first.value), abs(first.jump)
    slack = first.noise + jump / 100
    between = min(first.left, first.right) - slack <= a <= max(first.left, first.right) + slack
    smooth = True
    for shrink in SHRINK:
        near = _at(f, array, index, options, sigma, shrink)
        if abs(near.jump) > max(jump / 2, 10 * near.noise):
            return None
        smooth = abs(abs(near.jump) * shrink - jump) <= jump / 2
        if near.noise > off / 10:
            break  # the value is too noisy to tell
        if _agree(a, near, options):
            return near if smooth else None
    return None if between and not smooth else first
