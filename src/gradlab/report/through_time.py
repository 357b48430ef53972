"""The gradient of the state at each step of a recurrent layer: a line per setting."""

import pandas as pd
from matplotlib.figure import Figure

from gradlab.report import profile
from gradlab.report.reduce import STATE


def gained(time: pd.DataFrame) -> "pd.Series[float]":
    """Return log10 ‖dLoss/dh_1‖ / ‖dLoss/dh_T‖ by run (or of c), of the means over the records."""
    logs = time.sort_values("position").groupby("run")[STATE]
    return logs.agg(lambda steps: steps.iloc[0] - steps.iloc[-1])


def title(time: pd.DataFrame) -> str:
    """Say what becomes of the gradient on its way from the last step to the first."""
    return "" if time.empty else told(gained(time))


def told(decades: "pd.Series[float]") -> str:
    """Say by how many decades runs gain or lose on this way."""
    found = decades.dropna()
    parts = [
        f"{word} up to {abs(value):.1f} decades"
        for word, value in (("loses", found.min()), ("gains", found.max()))
        if value * (-1 if word == "loses" else 1) > 0.05
    ]
    much = " and ".join(parts) or "keeps its size"
    return f"From the last step of a sequence to the first the gradient {much}"


def draw(time: pd.DataFrame, keys: list[str], behind: str, title: str) -> Figure:
    """Draw log10 ‖dLoss/dh_t‖ (of a cell, c_t) over the steps, as `profile.draw` draws layers."""
    return profile.draw(time, keys, STATE, behind, title)
