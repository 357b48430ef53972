"""The rules: each a pure function, frames in, at most one finding out.

Every rule compares layers with each other, or a step with an earlier one, so that a factor on the
loss changes nothing.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from gradlab.diagnose.finding import Finding
from gradlab.diagnose.onset import since_when
from gradlab.diagnose.profile import decades, over_depth, shares
from gradlab.diagnose.starved import starved

DECADES = 3.0
"""A layer whose signal is 1,000 times weaker (stronger) than the last one's vanishes (explodes).

A healthy ReLU network of width 64 strays by 0.4 decades at depth 50 (Hanin & Nica 2020: the
variance of ln ‖delta‖² is 5 sum 1/n), so the rule stands seven such deviations off.
"""
GROSS_DECADES = 6.0  # what float32's 24 bits can tell apart within one sum, rounded down
GROWTH = 1e3  # of the whole gradient, since the first record
DEAD = 0.9  # of a layer's units; deep ReLU layers have half their units off for a whole batch
SATURATED = 0.75  # of a layer's entries; half of ReLU's have phi' = 0 by nature

Rule = Callable[[pd.DataFrame, pd.DataFrame], Finding | None]


def vanishing(layers: pd.DataFrame, steps: pd.DataFrame) -> Finding | None:
    """Find layers whose error signal is at least 3 decades below the last layer's."""
    table = decades(layers)
    return _over_depth(layers, "vanishing", table <= -DECADES, table.min(axis=1))


def exploding(layers: pd.DataFrame, steps: pd.DataFrame) -> Finding | None:
    """Find layers whose error signal is at least 3 decades above the last layer's."""
    table = decades(layers)
    return _over_depth(layers, "exploding", table >= DECADES, table.max(axis=1))


def growing(layers: pd.DataFrame, steps: pd.DataFrame) -> Finding | None:
    """Find a gradient that is 1,000 times as large as at the first step, and stays so."""
    norms = steps.set_index("step")["grad_norm"]
    if not len(norms) or not norms.iloc[0] > 0:
        return None
    ratio = norms / norms.iloc[0]
    since = since_when(ratio >= GROWTH)
    if since is None:
        return None
    factor = float(ratio.max())
    return Finding(
        kind="exploding",
        where=(),
        since=since,
        severity="gross" if factor >= 10**GROSS_DECADES else "mild",
        cause=f"the gradient grew {factor:.2g} times in training",
        evidence={"growth": factor},
        remedies=("clip=norm", "optim.lr=0.01"),
    )


def dead(layers: pd.DataFrame, steps: pd.DataFrame) -> Finding | None:
    """Find layers of which at least 90% of the units have phi' = 0 for the whole batch."""
    return _fraction(layers, "dead", DEAD, "model.activation=leaky_relu", "optim.lr=0.01")


def saturated(layers: pd.DataFrame, steps: pd.DataFrame) -> Finding | None:
    """Find layers of which at least 75% of the entries have |phi'| below 5% of its maximum."""
    return _fraction(layers, "saturated", SATURATED, "model.init=xavier_normal", "model.norm=layer")


RULES: tuple[Rule, ...] = (starved, dead, exploding, growing, vanishing, saturated)
"""In the order in which they name a run: the first finding is the verdict."""


def _over_depth(
    layers: pd.DataFrame, kind: str, holds: pd.DataFrame, worst: pd.Series
) -> Finding | None:
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    total = float(worst[holds.any(axis=1)].median())
    parts = shares(layers)
    told = ", ".join(f"{name} {value:+.2g}" for name, value in parts.items() if abs(value) >= 0.005)
    size = f"{total:+.1f} decades" if np.isfinite(total) else "everything (exact zeros)"
    return Finding(
        kind=kind,
        where=tuple(int(p) for p in holds.columns[_mostly(holds)]),
        since=since,
        severity="gross" if abs(total) >= GROSS_DECADES else "mild",
        cause=f"{size} between the last of {holds.shape[1]} layers and the worst: {told}",
        evidence={"decades": total, **parts},
        remedies=("model.init=kaiming_normal", "model.norm=layer", "model=resmlp"),
    )


def _fraction(layers: pd.DataFrame, kind: str, limit: float, *remedies: str) -> Finding | None:
    table = over_depth(layers, kind)
    holds = table >= limit
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    worst = float(table.max(axis=1)[holds.any(axis=1)].median())
    where = tuple(int(p) for p in table.columns[_mostly(holds)])
    named = ", ".join(map(str, where)) or "changing layers"
    return Finding(
        kind=kind,
        where=where,
        since=since,
        severity="gross" if worst >= 0.99 else "mild",
        cause=f"{worst:.0%} of layer {named}",
        evidence={kind: worst},
        remedies=remedies,
    )


def _mostly(holds: pd.DataFrame) -> pd.Series:
    """Say of each position whether the condition holds in most steps in which it holds anywhere."""
    return holds[holds.any(axis=1)].mean() >= 0.5
