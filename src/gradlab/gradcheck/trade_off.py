"""The error of a finite difference as a function of its step: table, measured order and figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gradlab.errors import CheckError, StoreError
from gradlab.gradcheck.comparison import sample
from gradlab.gradcheck.gradient_report import Options
from gradlab.gradcheck.problem import Problem, one_thread
from gradlab.pages.style import (
    COLOURS,
    LINES,
    MARKERS,
    make_axes,
    print_style,
    save_figure,
    set_title,
)
from gradlab.reference.differences import POWERS, difference, scale_of

STEPS = 10.0 ** np.arange(1, -14.25, -0.25)  # in units of an element's scale
ORDERS = {"one_sided": 1, "two_sided": 2}
CLEAR = 100.0  # times the smallest error: above it, truncation dominates
SMALL = 1e-3  # relative error below which the next order of the expansion is negligible


def trade_off(problem: Problem, options: Options) -> pd.DataFrame:
    """Return the median relative error |n - a| / |a| of both schemes for each step.

    The errors are taken over a sample of each parameter, without the elements whose gradient is
    smaller than the median: rounding would dominate them.

    Args:
        problem: the network and its loss.
        options: the options of the check.

    Returns:
        A table with the columns `h` (in units of an element's scale), `one_sided`, `two_sided`.

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


def measured_order(table: pd.DataFrame, scheme: str) -> float:
    """Return the measured order: the slope of log error against log h where truncation dominates.

    Args:
        table: the result of `trade_off`.
        scheme: "one_sided" or "two_sided".

    Returns:
        The order; NaN if truncation dominates at fewer than three steps.
    """
    error, h = table[scheme], table["h"]
    # Below the step with the smallest error, rounding dominates.
    used = (h > h.iloc[int(error.argmin())]) & (error <= SMALL) & (error >= CLEAR * error.min())
    if used.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(h[used]), np.log(error[used]), 1)[0])


def trade_off_lines(table: pd.DataFrame) -> Sequence[str]:
    """Return the table and the measured orders as lines."""
    lines = ["h / scale     one-sided    two-sided"]
    shown = table.iloc[:: max(1, len(table) // 28)]
    lines += [
        f"{r.h:<12.1e} {r.one_sided:>11.2e}  {r.two_sided:>11.2e}" for r in shown.itertuples()
    ]
    for scheme, order in ORDERS.items():
        order = measured_order(table, scheme)
        power = f"h^{order:.2f}" if order == order else "no power of h, because of kinks"
        best = table.iloc[int(table[scheme].argmin())]
        lines.append(
            f"{scheme.replace('_', '-')}: error ~ {power} (theory: {order}), "
            f"least {best[scheme]:.1e} at h = {best['h']:.1e} of the scale "
            f"(theory: eps^{POWERS[scheme]:.2f} = {np.finfo(float).eps ** POWERS[scheme]:.1e})"
        )
    return lines


BEST_STEPS = {"one_sided": (1, 1 / 2), "two_sided": (2, 1 / 3)}
"""For each scheme: the order of its truncation error, and the power of eps of its best step."""


def draw_trade_off(table: pd.DataFrame, title: str) -> Figure:
    """Draw the columns `one_sided` and `two_sided` against `h`, with lines of slope 1, 2 and -1."""
    figure, axes = make_axes(1, 1, 3.6)
    ax = axes[0, 0]
    h = table["h"].to_numpy()
    least = table[[*BEST_STEPS]].where(table[[*BEST_STEPS]] > 0).min().min()
    for i, (scheme, (order, power)) in enumerate(BEST_STEPS.items()):
        error = table[scheme].where(table[scheme] > 0).to_numpy()
        label = f"{scheme.replace('_', '-')}: truncation ~ h{'²' if order == 2 else ''}"
        look = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 3}
        ax.plot(h, error, label=label, linestyle="none", **look)
        # The guide passes through the error nearest to 1e-3, where truncation dominates.
        anchor = np.nanargmin(np.abs(np.log10(error / 1e-3)) + np.where(h < 1e-6, 99, 0))
        guide = error[anchor] * (h / h[anchor]) ** order
        ax.plot(h, guide, color=COLOURS[i], linestyle=LINES[i], lw=0.8)
        best = np.finfo(float).eps ** power
        ax.axvline(best, color=COLOURS[i], linestyle=LINES[i], lw=0.6, alpha=0.7)
        name = f"eps^(1/{round(1 / power)})"
        ax.annotate(name, (best, 2.0), ha="right", va="bottom", rotation=90, fontsize=7)
    noisy = table[table["h"] < 1e-9]
    level = np.median(noisy["two_sided"] * noisy["h"])
    ax.plot(h, level / h, color="0.4", linestyle=LINES[3], lw=0.8, label="rounding ~ 1/h")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(least / 3, 30)
    ax.set_xlabel("step h (in units of the weight's scale)")
    ax.set_ylabel("relative error of the derivative (median)")
    ax.legend(frameon=False, loc="lower left")
    set_title(figure, title)
    return figure


def save_trade_off(table: pd.DataFrame, folder: Path) -> Path:
    """Save the figure in `folder`.

    Returns:
        The path of the figure.

    Raises:
        StoreError: the folder cannot be written.
    """
    two, one = table["two_sided"].min(), table["one_sided"].min()
    title = (
        f"Two-sided differences reach an error of {two:.0e}, one-sided {one:.0e}; rounding limits"
        " both"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with print_style():
            save_figure(draw_trade_off(table, title), folder, "trade_off")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder / "trade_off.png"
