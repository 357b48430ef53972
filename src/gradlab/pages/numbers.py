"""Numbers and values as text."""

from typing import Any

import numpy as np
import pandas as pd


def number(value: float) -> str:
    """Return four digits, as a power of ten where the number is small."""
    return f"{value:.4g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3e}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(share: float) -> str:
    """Return a share as a percentage, in one or two digits: 39%, 0.12%, 0.00002%."""
    if share >= 0.095 or share == 0:
        return f"{share:.0%}"
    places = max(1, -int(np.floor(np.log10(100 * share))))
    return f"{share:.1%}" if share >= 0.001 else f"{100 * share:.{places}f}%"


def decade(value: float) -> str:
    """Return log10 of a factor, signed."""
    return f"{value:+.2f}" if np.isfinite(value) else "exactly 0" if value < 0 else "n/a"


def power(decades: float) -> str:
    """Return 10 to the `decades`, and they themselves."""
    if np.isnan(decades):
        return "not defined (0/0)"
    return f"{10.0**decades:.3g} ({decades:+.2f} decades)" if np.isfinite(decades) else "exactly 0"


def factor_text(decades: float) -> str:
    """Return the plain factor of a number of decades, to two digits: `1,600-fold` for 3.2.

    The sign is dropped: the sentence around it says "grows" or "falls". Beyond 10^15 the factor
    stays a power of ten: `10^17.6-fold`.

    Args:
        decades: the log10 of a ratio, finite.
    """
    if abs(decades) > 15:
        return f"10^{abs(decades):.1f}-fold"
    factor = float(f"{10.0 ** abs(decades):.1e}")  # two digits
    for unit, name in ((1e12, "-trillion"), (1e9, "-billion"), (1e6, "-million")):
        if factor >= unit:
            return f"{factor / unit:,.4g}{name}-fold"
    return f"{factor:,.0f}-fold" if factor >= 10 else f"{factor:g}-fold"


def decades_text(decades: float) -> str:
    """Return a number of decades and its plain factor: `8.5 decades (320-million-fold)`.

    The sign is dropped.

    Args:
        decades: the log10 of a ratio, finite.
    """
    return f"{abs(decades):.1f} decades ({factor_text(decades)})"


def cell(value: Any) -> str:
    """Return a value for a table: four digits of a number, "" for None, NA and NaN."""
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
