"""The rules about the units of a layer: dead, saturated, or all with the same gradient."""

import numpy as np

from gradlab.diagnosis.advice import SMALLER_RATE
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.grid import first_lasting, median, usual_positions
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import join_sentence
from gradlab.pages.numbers import percent


def dead(record: Record) -> Finding | None:
    """Find layers in which at least `dead` of the units have phi' = 0 for the whole batch."""
    share = record.depth["dead"]
    remedies = ("model.activation=leaky_relu", SMALLER_RATE)
    text = join_sentence(
        "up to {share} of the units of {layers} are dead",
        "the derivative of their activation is 0 for every sample of the batch",
    )
    return _share(record, "dead", share, text, remedies)


def saturated(record: Record) -> Finding | None:
    """Find layers in which `saturated` of the entries have |phi'| below 5% of its maximum.

    Not of one-sided activations: relu is flat on one side by design, which makes it sparse.

    Returns:
        The finding, or None.
    """
    share = np.where(record.one_sided, np.nan, record.depth["saturated"])
    remedies = ("model.init=xavier_normal", "model.norm=layer")
    text = join_sentence(
        "up to {share} of the activations of {layers} are saturated",
        "the derivative is below 5% of its maximum there",
    )
    return _share(record, "saturated", share, text, remedies)


def symmetric(record: Record) -> Finding | None:
    """Find hidden layers whose units all have the same gradient, and so stay the same unit.

    A network whose weights are all 0 has no gradient to compare; there the weights decide.

    Returns:
        The finding, or None.
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
        where, reason = tuple(map(int, grid.positions)), "every weight is 0"
        measurement = "the units of a layer stay equal, so each layer acts as one unit"
    else:
        where, reason = usual_positions(holds, grid.positions[:-1]), ""
        least = median(spread[holds])
        measurement = (
            f"all units of {record.layers_text(where)} have the same gradient (they differ by "
            f"{percent(least)}), so they stay equal and act as one unit"
        )
    return Finding(
        kind="symmetric",
        where=where,
        since=since,
        severity="severe",
        cause=join_sentence(measurement, reason),
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
        text: The sentence, with the fields `share` and `layers`.
        remedies: Overrides worth trying.

    Returns:
        The finding; None if no layer has it.
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
        severity="severe" if worst >= 0.99 else "mild",
        cause=text.format(share=f"{worst:.0%}", layers=record.layers_text(where)),
        evidence={kind: worst},
        remedies=remedies,
    )
