"""TheDeepChecker (Ben Braiek & Khomh, TOSEM 2023): its checks of a network in training.

Source: github.com/thedeepchecker/thedeepchecker, deep_checker/hooks.py, checkers.py, metrics.py and
config/settings.yaml. It checks every tenth step from the tenth on, and warns of all that it finds.

Left out, because they judge a single batch that is learnt by heart, or give advice: the loss curve,
the spread of activations, and which published initialisation would suit.
"""

import numpy as np
import pandas as pd
from diagnosis.record import Record
from diagnosis.rivals.tables import by_layer, nonfinite

START, PERIOD, WINDOW = 10, 10, 5
UNITS = 0.5  # of a layer: silent, or with a rho_B above 0.85
WEIGHTS = 0.95  # of a layer's weights are below 1e-5
DIVERGED = 1e8  # mean |w|
VANISHED, EXPLODED = 1e-6, 1e6  # mean |g|
HALVED, DOUBLED = 0.5, 2.0  # from one step to the next, all through the window
FAST, SLOW = -1.0, -4.0  # mean log10 of mean |update| / mean |w| over a period
NO_VARIANCE = 1e-8  # of a layer's first weights


def deepchecker(record: Record) -> set[str]:
    """Return the labels of all its warnings."""
    if nonfinite(record):
        return {"overflow", "exploding"}
    found: set[str] = set()
    if (by_layer(record, "weight_variance").iloc[0] < NO_VARIANCE).any():
        found |= {"symmetric"}  # "poor initialisation": no variance among a layer's weights
    gradients, weights = by_layer(record, "grad_mean_abs"), by_layer(record, "weight_mean_abs")
    checked = (gradients.index >= START) & (gradients.index % PERIOD == 0)
    if (gradients < VANISHED)[checked].any(axis=None) or _trend(gradients, HALVED):
        found |= {"vanishing", "underflow"}
    if (gradients > EXPLODED)[checked].any(axis=None) or _trend(gradients, DOUBLED):
        found |= {"exploding"}
    if (weights > DIVERGED)[checked].any(axis=None) or _trend(weights, DOUBLED):
        found |= {"unstable"}
    if (by_layer(record, "weight_zeros") > WEIGHTS)[checked].any(axis=None):
        found |= {"other"}
    return found | _units(record, checked) | _updates(record)


def _units(record: Record, checked: np.ndarray) -> set[str]:
    """Check saturation in tanh and sigmoid networks, with the paper's range of outputs, else death.

    The settings' range is [0, 1] for both, which takes half of all tanh outputs for extremes.
    """
    column, label = "units_silent", "dead"
    if record.activation in ("tanh", "sigmoid"):
        column, label = f"units_extreme_{record.activation}", "saturated"
    return {label} if (by_layer(record, column) > UNITS)[checked].any(axis=None) else set()


def _updates(record: Record) -> set[str]:
    """Compare updates with weights: "untrained", "too fast" and "too slow" weights."""
    weights = by_layer(record, "weight_mean_abs")
    ratio = (by_layer(record, "update_mean_abs") / weights.where(weights > 0)).iloc[1:]
    logs = np.log10(ratio.where(ratio > 0)).fillna(0.0)  # the tool's treatment of 0
    mean = logs.groupby((logs.index - 1) // PERIOD).mean()
    found: set[str] = set()
    if (mean > FAST)[mean != 0].fillna(False).any(axis=None):
        found |= {"unstable"}
    if (mean < SLOW).any(axis=None) or (mean == 0).any(axis=None):
        found |= {"starved"}
    return found


def _trend(table: pd.DataFrame, factor: float) -> bool:
    """Return whether a layer's number halves (doubles) between any five looks in a row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = table / table.shift()
    holds = rates >= factor if factor > 1 else rates <= factor
    return bool((holds.rolling(WINDOW - 1).sum() == WINDOW - 1).any(axis=None))
