"""Error against step: where a finite difference is best, and how fast it gets there."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradlab.errors import CheckError
from gradlab.gradcheck.comparison import sample
from gradlab.gradcheck.problem import Problem, one_thread
from gradlab.gradcheck.row import Options
from gradlab.reference.differences import POWERS, difference, scale_of

STEPS = 10.0 ** np.arange(1, -14.25, -0.25)  # in units of an element's scale
ORDERS = {"one_sided": 1, "two_sided": 2}
CLEAR = 100.0  # times the least error: above this, truncation rules
SMALL = 1e-3  # a relative error at which the next order of the expansion does not count


def trade_off(problem: Problem, options: Options) -> pd.DataFrame:
    """Return the median relative error |n - a| / |a| of both schemes: a row per step.

    Over a sample of each parameter, those elements whose gradient is at least the median in size,
    so that rounding is compared with a gradient and not with its absence. Columns: `h` (in units of
    an element's scale), `one_sided`, `two_sided`.

    Raises:
        CheckError: every gradient is 0.
    """
    with one_thread():
        return _trade_off(problem, options)


def _trade_off(problem: Problem, options: Options) -> pd.DataFrame:
    grads, _ = problem.gradients()
    chosen = [
        (problem.arrays[name], index, float(grad[index]))
        for name, grad in grads.items()
        if grad is not None and name != "input"
        for index in sample(grad, options)
    ]
    size = np.median([abs(a) for *_, a in chosen]) if chosen else 0.0
    chosen = [each for each in chosen if abs(each[2]) >= size > 0][: options.samples]
    if not chosen:
        raise CheckError("every gradient is 0: there is no relative error to show")
    rows: list[dict[str, float]] = []
    for h in STEPS:
        errors: dict[str, list[float]] = {scheme: [] for scheme in POWERS}
        for array, index, a in chosen:
            d = difference(problem.value, array, index, float(h) * scale_of(array, index, 1.0))
            errors["two_sided"].append(abs(d.value - a) / abs(a))
            errors["one_sided"].append(abs(d.right - a) / abs(a))
        rows.append({"h": float(h), **{s: float(np.median(e)) for s, e in errors.items()}})
    return pd.DataFrame(rows)


def slope(table: pd.DataFrame, scheme: str) -> float:
    """Return the measured order: the slope of log error against log h above the round-off floor.

    NaN if truncation rules at fewer than three steps.
    """
    error, h = table[scheme], table["h"]
    # Noise rules below the step of least error, which is as large there as truncation above it.
    used = (h > h.iloc[int(error.argmin())]) & (error <= SMALL) & (error >= CLEAR * error.min())
    if used.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(h[used]), np.log(error[used]), 1)[0])


def told(table: pd.DataFrame) -> Sequence[str]:
    """Return the table and the measured orders as lines."""
    lines = ["h / scale     one-sided    two-sided"]
    shown = table.iloc[:: max(1, len(table) // 28)]
    lines += [
        f"{r.h:<12.1e} {r.one_sided:>11.2e}  {r.two_sided:>11.2e}" for r in shown.itertuples()
    ]
    for scheme, order in ORDERS.items():
        order = slope(table, scheme)
        said = f"h^{order:.2f}" if order == order else "no power of h, for there are kinks"
        best = table.iloc[int(table[scheme].argmin())]
        lines.append(
            f"{scheme.replace('_', '-')}: error ~ {said} (theory: {order}), "
            f"least {best[scheme]:.1e} at h = {best['h']:.1e} of the scale "
            f"(theory: eps^{POWERS[scheme]:.2f} = {np.finfo(float).eps ** POWERS[scheme]:.1e})"
        )
    return lines
