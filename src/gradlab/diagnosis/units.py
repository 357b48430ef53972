"""The rules about a layer's units: off for the whole batch, saturated, or all alike."""

import numpy as np

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.places import named
from gradlab.diagnosis.profile import median
from gradlab.diagnosis.record import Record

ONE_SIDED = ("relu", "leaky_relu")
"""Flat on one side by design: that many entries are there is sparseness, not saturation."""


def dead(record: Record) -> Finding | None:
    """Find layers of which at least `dead` of the units have phi' = 0 for the whole batch."""
    remedies = ("model.activation=leaky_relu", "optim.lr=0.01")
    return _share(record, "dead", "of the units have phi' = 0 for the whole batch", remedies)


def saturated(record: Record) -> Finding | None:
    """Find layers of which `saturated` of the entries have |phi'| below 5% of its maximum."""
    if record.config.get("model.activation") in ONE_SIDED:
        return None
    remedies = ("model.init=xavier_normal", "model.norm=layer")
    return _share(record, "saturated", "of |phi'| are below 5% of its maximum", remedies)


def symmetric(record: Record) -> Finding | None:
    """Find hidden layers whose units all have the same gradient, and so remain the same unit.

    Where every weight of the network is 0 there is no gradient to compare: the weights say it.
    """
    grid = record.depth
    weights = grid["weight_norm"]
    if weights.shape[1] < 2:  # no hidden units, no symmetry among them
        return None
    spread = grid["unit_spread"][:, :-1]
    holds = spread <= record.limit("symmetric")
    nothing = (weights == 0).all(axis=1)
    told = ~np.isnan(spread).all(axis=1) | nothing
    since = since_when((holds.any(axis=1) | nothing)[told], grid.steps[told])
    if since is None:
        return None
    if nothing[grid.steps == since].any():
        where, cause = tuple(map(int, grid.positions)), "every weight is 0"
    else:
        where = mostly(holds, grid.positions[:-1])
        least = median(spread[holds])
        cause = f"in {named(where)} all units have the same gradient, to {least:.1g} of it"
    return Finding(
        kind="symmetric",
        where=where,
        since=since,
        severity="gross",
        cause=f"{cause}: they stay alike, as if the layer were one unit wide",
        evidence={"step": float(since)},
        remedies=("model.init=default", "model.init=kaiming_normal"),
    )


def _share(record: Record, kind: str, told: str, remedies: tuple[str, ...]) -> Finding | None:
    grid = record.depth
    holds = grid[kind] >= record.limit(kind)
    rows = holds.any(axis=1)
    since = since_when(rows, grid.steps)
    if since is None:
        return None
    worst = median(np.nanmax(grid[kind][rows], axis=1))
    where = mostly(holds, grid.positions)
    return Finding(
        kind=kind,
        where=where,
        since=since,
        severity="gross" if worst >= 0.99 else "mild",
        cause=f"in {named(where)} up to {worst:.0%} {told}",
        evidence={kind: worst},
        remedies=remedies,
    )
