"""The rules about the units of a layer: dead, saturated, or all with the same gradient."""

import numpy as np

from gradlab.diagnosis.finding import Finding, layers_in_words
from gradlab.diagnosis.grid import first_lasting, median, usual_positions
from gradlab.diagnosis.record import Record


def dead(record: Record) -> Finding | None:
    """Find layers in which at least `dead` of the units have phi' = 0 for the whole batch."""
    share = record.depth["dead"]
    remedies = ("model.activation=leaky_relu", "optim.lr=0.01")
    return _share(record, "dead", share, "of the units have phi' = 0 for the whole batch", remedies)


def saturated(record: Record) -> Finding | None:
    """Find layers in which `saturated` of the entries have |phi'| below 5% of its maximum.

    Not of one-sided activations: relu is flat on one side by design, which makes it sparse.
    """
    share = np.where(record.one_sided, np.nan, record.depth["saturated"])
    remedies = ("model.init=xavier_normal", "model.norm=layer")
    return _share(record, "saturated", share, "of |phi'| are below 5% of its maximum", remedies)


def symmetric(record: Record) -> Finding | None:
    """Find hidden layers whose units all have the same gradient, and so stay the same unit.

    Where every weight of the network is 0 there is no gradient to compare; then the weights decide.
    """
    grid = record.depth
    weights = grid["weight_norm"]
    if weights.shape[1] < 2:  # no hidden units
        return None
    spread = grid["unit_spread"][:, :-1]
    holds = spread <= record.limit("symmetric")
    all_zero = (weights == 0).all(axis=1)
    known = ~np.isnan(spread).all(axis=1) | all_zero
    since = first_lasting((holds.any(axis=1) | all_zero)[known], grid.steps[known])
    if since is None:
        return None
    if all_zero[grid.steps == since].any():
        where, cause = tuple(map(int, grid.positions)), "every weight is 0"
    else:
        where = usual_positions(holds, grid.positions[:-1])
        least = median(spread[holds])
        cause = (
            f"in {layers_in_words(where)} all units have the same gradient, to {least:.1g} of it"
        )
    return Finding(
        kind="symmetric",
        where=where,
        since=since,
        severity="gross",
        cause=f"{cause}: they stay alike, as if the layer were one unit wide",
        evidence={"step": float(since)},
        remedies=("model.init=default", "model.init=kaiming_normal"),
    )


def _share(
    record: Record, kind: str, share: np.ndarray, text: str, remedies: tuple[str, ...]
) -> Finding | None:
    """Find layers with a large share of their units or entries in a condition.

    Args:
        record: The record of the run.
        kind: The kind of the finding, and the name of its threshold.
        share: The share of each layer [S, L]; NaN where it does not count.
        text: The condition in words.
        remedies: Overrides worth trying.
    """
    grid = record.depth
    holds = share >= record.limit(kind)
    rows = holds.any(axis=1)
    since = first_lasting(rows, grid.steps)
    if since is None:
        return None
    worst = median(np.nanmax(share[rows], axis=1))
    where = usual_positions(holds, grid.positions)
    return Finding(
        kind=kind,
        where=where,
        since=since,
        severity="gross" if worst >= 0.99 else "mild",
        cause=f"in {layers_in_words(where)} up to {worst:.0%} {text}",
        evidence={kind: worst},
        remedies=remedies,
    )
