"""An axis of log10 values, with strips for what has none: exact zeros, and what is not finite."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gradlab.pages.style import ROUND, power


class Edges:
    """The limits of such an axis, and a level in its strips for each series that needs one.

    The values are logarithms on a linear axis: 10^400 cannot be a limit of a log axis.

    Args:
        logs: log10 of what is drawn; what is not finite does not count.
        zeros: how many series have exact zeros; their strip is below the data.
        infinities: how many have values that are not finite; their strip is above the data.
    """

    def __init__(self, logs: np.ndarray, zeros: int, infinities: int) -> None:
        logs = logs[np.isfinite(logs)]
        low, high = (float(logs.min()), float(logs.max())) if len(logs) else (0.0, 0.0)
        if high - low < 1:  # so that there is a power of ten to name
            low, high = float(np.floor(low)), float(np.ceil(high))
        self.data = (low, high) if len(logs) else None
        span = high - low
        margin = max(1.0, 0.1 * span) if zeros or infinities else 0.05 * span + 0.1
        self.gap = max(0.5, 0.07 * (span + 2 * margin))  # that the marks of two series do not touch
        self._zero, self._infinity = low - margin, high + margin
        self.zeros, self.infinities = zeros, infinities
        self.low = self.zero(zeros - 0.5) if zeros else low - margin / 2
        self.high = self.infinity(infinities - 0.5) if infinities else high + margin / 2

    def zero(self, series: float) -> float:
        """Return the level at which the series of this number has its zeros."""
        return self._zero - self.gap * series

    def infinity(self, series: float) -> float:
        """Return the level at which the series of this number is not finite."""
        return self._infinity + self.gap * series

    def draw(self, axes: Axes) -> None:
        """Set the limits and the ticks: powers of ten, and the name of each strip there is."""
        ticks = self._powers()
        for series, border, end, name in (
            (self.zeros, self.zero(-0.5), self.low, "exactly 0"),
            (self.infinities, self.infinity(-0.5), self.high, "not finite"),
        ):
            if series:
                axes.axhspan(border, end, color="0.93", lw=0, zorder=0)
                ticks[(border + end) / 2] = name
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(self.low, self.high)

    def _powers(self) -> dict[float, str]:
        if self.data is None:
            return {}
        low, high = self.data
        nice = MaxNLocator(5, integer=True, steps=ROUND).tick_values(low - 0.5, high + 0.5)
        exponents = [round(tick) for tick in nice if low - 0.5 <= tick <= high + 0.5]
        return {float(exponent): power(exponent) for exponent in exponents}
