"""AutoTrainer (Zhang, Zhai, Ma & Shen, ICSE 2021): thresholds and logic of its monitor.

Source: github.com/shiningrain/AUTOTRAINER, AutoTrainer/utils/monitor.py and the default_param of
utils/utils.py. It checks every third epoch, from all data so far; a vanishing gradient, one
that explodes, or dying ReLUs count only in a network that does not reach 70% accuracy or gains less
than 1% an epoch. It keeps no validation set here: the training batches stand for both.
"""

import numpy as np
import pandas as pd
from diagnosis.record import Record
from diagnosis.rivals.tables import by_layer, epochs, nonfinite

LOW_RATIO, LOW_NORM, HIGH_RATIO = 1e-3, 1e-4, 70.0  # beta_1, beta_2, beta_3
ZEROS = 0.7  # gamma: of all gradient entries
SWING, SWINGS = 0.03, 0.2  # zeta, eta
GAIN, ENOUGH = 0.01, 0.7  # delta, Theta
JUDGED_FROM, GAP = 0.3, 3  # of the epochs; epochs between two looks
LOST = 1e5  # a loss as good as NaN


def autotrainer(record: Record) -> set[str]:
    """Return the first problem that a look finds; after it the tool stops and repairs."""
    labels = epochs(record)
    if nonfinite(record) or (labels["loss"] >= LOST).any():
        return {"exploding", "overflow"}
    norms, zeros, entries = (
        by_layer(record, name) for name in ("grad_norm", "grad_zeros", "grad_entries")
    )
    ratio = norms.iloc[:, 0] / norms.iloc[:, -1]
    vanish = (ratio < LOW_RATIO) & (norms.iloc[:, 0] < LOW_NORM)
    dying = zeros.sum(axis=1) / entries.sum(axis=1) >= ZEROS
    for look in range(0, len(labels), GAP):
        if look + 1 < JUDGED_FROM * len(labels):
            continue
        seen = labels.iloc[: look + 1]
        features = [
            bool(f.iloc[: look + 1 : GAP].any()) for f in (dying, ratio > HIGH_RATIO, vanish)
        ]
        found = _label(seen, *features)
        if found:
            return found
    return set()


def _label(seen: pd.DataFrame, dying: bool, explode: bool, vanish: bool) -> set[str]:
    # Without an accuracy (a regression) it has no word on convergence: its gradients decide alone.
    slow = unfinished = "accuracy" not in seen
    if not slow:
        accuracy = seen["accuracy"].to_numpy()
        slow = bool(np.diff(accuracy, prepend=accuracy[0]).max() < GAIN)
        unfinished = bool(accuracy.max() < ENOUGH)
    if unfinished or slow:
        if dying:
            return {"dead"}
        if explode:
            return {"exploding"}
        if vanish:
            return {"vanishing", "underflow"}
        return {"other"} if slow and "accuracy" in seen else set()
    return {"unstable"} if _oscillates(seen["accuracy"].to_numpy()) else set()


def _oscillates(accuracy: np.ndarray) -> bool:
    """Count maxima that stand 3% above the minimum of the same rank."""
    middle, before, after = accuracy[1:-1], accuracy[:-2], accuracy[2:]
    high = middle[(middle >= before) & (middle >= after)]
    low = middle[(middle <= before) & (middle <= after)]
    many = min(len(high), len(low))
    return bool((high[:many] - low[:many] >= SWING).sum() >= SWINGS * len(accuracy))
