"""torchmortem: its detectors of gradients, units, updates, weights and the loss.

Source: github.com/sebseager/torchmortem, src/torchmortem/detectors (gradient_flow, dead_units,
saturation, update_ratio, weight_norm, loss_dynamics) and collectors. Findings of severity INFO do
not count. Gradient noise and the rank of representations are left out. On eleven of the networks
the package itself (0.1.1) was run too, and gave the same labels.
"""

import numpy as np
import pandas as pd
from diagnosis.record import Record
from diagnosis.rivals.tables import by_layer

RATIO, ZERO = 100.0, 1e-30  # ‖dLoss/dz‖ of the last layer over the first's
LARGE = 1000.0  # ‖dLoss/dz‖ of any layer at any step
STALLED, STALLED_FOR = 1e-8, 0.3  # ‖dLoss/dz‖; of the steps
UNITS, SUSTAINED = 0.5, 0.5  # of a module's entries; of the later half's steps
LOW, HIGH = 1e-5, 1e-1  # ‖update‖ / ‖w‖, median of the later half
GREW, STAGNANT, IMBALANCE = 10.0, 1e-4, 100.0  # ‖w‖ from first to last; relative; between layers
CRITICAL_RATIO, CRITICAL_UNITS, CRITICAL_GREW = 1000.0, 0.8, 100.0
WINDOW, RISING, ROSE, FLAT = 20, 0.8, 1.5, 1e-5  # of the smoothed loss


def torchmortem(record: Record) -> set[str]:
    """Return the labels of all its findings, warnings and critical ones."""
    return _all(record, critical=False)


def torchmortem_critical(record: Record) -> set[str]:
    """Return the labels of its critical findings."""
    return _all(record, critical=True)


def _all(record: Record, critical: bool) -> set[str]:
    parts = (_gradients, _units, _weights, _loss)
    return set[str]().union(*(part(record, critical) for part in parts))


def _later(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[len(table) // 2 :]


def _gradients(record: Record, critical: bool) -> set[str]:
    found: set[str] = set()
    delta = by_layer(record, "delta_norm")
    if delta.shape[1] < 2:
        return found
    mean = _later(delta).mean()
    first, last = float(mean.iloc[0]), float(mean.iloc[-1])
    if first < ZERO or (last >= ZERO and last / first >= (CRITICAL_RATIO if critical else RATIO)):
        found |= {"vanishing"}
    if (delta > LARGE).any(axis=None):
        found |= {"exploding"}
    if not critical and ((delta < STALLED).mean() >= STALLED_FOR).any():
        found |= {"vanishing", "underflow"}
    return found


def _units(record: Record, critical: bool) -> set[str]:
    """Count entries near 0 and beyond 0.95, in the outputs of linear maps and of activations."""
    found: set[str] = set()
    for label, kind in (("dead", "near_zero"), ("saturated", "beyond_095")):
        for output in ("z", "a"):
            share = _later(by_layer(record, f"{output}_{kind}"))
            holds = (share > UNITS).mean() >= SUSTAINED
            if critical:
                holds &= share.mean() > CRITICAL_UNITS
            found |= {label} if holds.any() else set()
    return found


def _weights(record: Record, critical: bool) -> set[str]:
    found: set[str] = set()
    weights = by_layer(record, "weight_norm")
    ratio = _later((by_layer(record, "update_norm") / weights.where(weights > 0)).iloc[1:])
    median = ratio.where(ratio > 0).median()
    found |= {"unstable"} if (median > HIGH).any() else set()
    first, last = weights.iloc[0], weights.iloc[-1]
    known = first >= ZERO
    if (last / first > (CRITICAL_GREW if critical else GREW))[known].any():
        found |= {"unstable"}  # "weight norm explosion"
    if critical:
        return found
    found |= {"starved"} if (median < LOW).any() else set()
    if len(weights) >= 4 and ((last - first).abs() / first < STAGNANT)[known].any():
        found |= {"starved"}  # "stagnant weight norms"
    there = last[last > ZERO]
    if len(there) > 1 and there.max() / there.min() >= IMBALANCE:
        found |= {"other"}
    return found


def _loss(record: Record, critical: bool) -> set[str]:
    loss = record.steps["loss"].ewm(alpha=0.1, adjust=False).mean().to_numpy()
    found: set[str] = set()
    if len(loss) < 10:
        return found
    tail = loss[-min(WINDOW, len(loss) // 2) :]
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(tail) >= 5 and (np.diff(tail) > 0).mean() >= RISING and tail[-1] / tail[0] >= ROSE:
            found |= {"unstable", "overflow"}
    for start in range(len(loss) // 2, len(loss) - WINDOW, WINDOW):
        part = loss[start : start + WINDOW]
        if (
            not critical
            and len(loss) >= 2 * WINDOW
            and part.mean() >= ZERO
            and np.ptp(part) / part.mean() < FLAT
        ):
            found |= {"other"}  # "loss plateau"
    return found
