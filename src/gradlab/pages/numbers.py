"""Numbers and values as text."""

from typing import Any

import numpy as np
import pandas as pd


def four_digits(value: float) -> str:
    """Return a number with four digits: `0.1235`, and `1.235e-05` below 0.001."""
    return f"{value:.4g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3e}"


def count(number: int, noun: str) -> str:
    """Return a number and its noun: `1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(share: float) -> str:
    """Return a share as a percentage of one or two digits: `39%`, `0.12%`, `0.00002%`."""
    if share >= 0.095 or share == 0:
        return f"{share:.0%}"
    places = max(1, -int(np.floor(np.log10(100 * share))))
    return f"{share:.1%}" if share >= 0.001 else f"{100 * share:.{places}f}%"


def signed_decades(value: float) -> str:
    """Return decades with a sign, `+0.35`; `exactly 0` for -inf, `n/a` for inf and NaN."""
    return f"{value:+.2f}" if np.isfinite(value) else "exactly 0" if value < 0 else "n/a"


def power_text(decades: float) -> str:
    """Return a factor and its decades: `0.00316 (-2.50 decades)`; `exactly 0` for -inf."""
    if np.isnan(decades):
        return "not defined (0/0)"
    return f"{10.0**decades:.3g} ({decades:+.2f} decades)" if np.isfinite(decades) else "exactly 0"


def factor_text(decades: float) -> str:
    """Return the plain factor of a number of decades, to two digits: `1,600-fold` for 3.2.

    The text has no sign: the sentence around it has a word such as "grows" or "falls". Beyond
    10^15 the factor is a power of ten: `10^17.6-fold`.

    Args:
        decades: log10 of a ratio, finite.

    Returns:
        The factor; 1 or more.
    """
    if abs(decades) > 15:
        return f"10^{abs(decades):.1f}-fold"
    factor = float(f"{10.0 ** abs(decades):.1e}")  # two digits
    for unit, name in ((1e12, "-trillion"), (1e9, "-billion"), (1e6, "-million")):
        if factor >= unit:
            return f"{factor / unit:,.4g}{name}-fold"
    return f"{factor:,.0f}-fold" if factor >= 10 else f"{factor:g}-fold"


def decades_text(decades: float) -> str:
    """Return decades, without sign, and their plain factor: `8.5 decades (320-million-fold)`."""
    return f"{abs(decades):.1f} decades ({factor_text(decades)})"


def cell(value: Any) -> str:
    """Return the text of a table cell: four digits of a float, `""` for None, NA and NaN."""
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
