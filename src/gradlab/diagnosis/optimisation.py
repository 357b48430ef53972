"""The rules about gradient and updates over training, about the optimiser and about clipping."""

import math

import numpy as np
import pandas as pd

from gradlab.diagnosis.advice import SMALLER_RATE
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.grid import first_lasting, median, relative, usual_positions
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import change_text, join_sentence, smaller_text
from gradlab.pages.numbers import percent

SMALLER_STEPS = (SMALLER_RATE, "clip=norm")
DIVIDES_BY_SIZE = ("adam", "adamw", "rmsprop")
ALWAYS = 0.95  # of the steps


def growing(record: Record) -> Finding | None:
    """Find a gradient that is `growth` times as large as at the first step, and stays so."""
    norms = record.over_steps("grad_norm")
    if not len(norms) or not norms.iloc[0] > 0:
        return None
    ratio = norms / norms.iloc[0]
    since = first_lasting(ratio >= record.limit("growth"), ratio.index)
    if since is None:
        return None
    factor = float(ratio.max())
    change = change_text(math.log10(factor)) if math.isfinite(factor) else "rises to inf"
    return Finding(
        kind="exploding",
        where=(),
        since=since,
        severity="severe" if factor >= 10 ** record.limit("severe_decades") else "mild",
        cause=f"the norm of the whole gradient {change} during training",
        evidence={"growth": factor},
        remedies=("clip=norm", SMALLER_RATE),
    )


def unstable(record: Record) -> Finding | None:
    """Find steps that are too large, by the first sign: overshooting, a rise, or a large share.

    `descent` is 1 - lr λ / 2 on a quadratic of curvature λ along the step: 0 is the edge of
    stability, lr = 2 / λ (Cohen et al. 2021, https://arxiv.org/abs/2103.00065).

    Returns:
        The finding, or None.
    """
    return _overshoots(record) or _rises(record) or _outweighs(record)


def starved(record: Record) -> Finding | None:
    """Find layers that learn slower than the median layer by `starved_decades`.

    Layers with a vanished error signal are left to `vanishing`. Layers without a gradient at the
    step do not count: another optimiser may update them.

    Returns:
        The finding, or None.
    """
    grid = record.depth
    ratios = np.where(np.isnan(grid["weight_grad_norm"]), np.nan, grid["update_ratio"])
    if ratios.shape[1] < 2:
        return None
    middle = pd.DataFrame(ratios).median(axis=1).to_numpy()[:, None]
    limit = 10.0 ** -record.limit("starved_decades")
    holds = (ratios <= limit * middle) & (middle > 0)
    holds &= ~(relative(grid["delta_norm"]) <= -record.limit("decades"))
    rows = holds.any(axis=1)
    since = first_lasting(rows, grid.steps)
    if since is None:
        return None
    where = usual_positions(holds, grid.positions)
    ratio = median(np.nanmin(ratios[rows], axis=1) / middle[rows, 0])
    still = (ratios == 0) & (grid["weight_grad_norm"] > 0)
    lost = (still & holds).any()
    slower = smaller_text(ratio) if ratio > 0 else "0, unlike"
    return Finding(
        kind="starved",
        where=where,
        since=since,
        severity="severe" if ratio <= limit**2 else "mild",
        cause=join_sentence(
            f"the updates of {record.layers_text(where)}, relative to the weights, are {slower} "
            "those of the median layer",
            f"{record.dtype} rounds weight plus update to the weight" if lost else "",
        ),
        evidence={"ratio": ratio},
        remedies=("model.init=kaiming_normal", "model.norm=layer", "optim=adam"),
    )


def below_eps(record: Record) -> Finding | None:
    """Find layers whose gradient is below the eps of an optimiser that divides by its size.

    Entry by entry, lr g / (|g| + eps) is lr above eps, and lr g / eps below it: the layer learns
    slower than the optimiser is meant to let it, by eps / |g|.

    Returns:
        The finding, or None.
    """
    eps = record.config.get("optim.eps")
    if record.config.get("optim") not in DIVIDES_BY_SIZE or not eps:
        return None
    grid, done = record.depth, record.learnt(record.depth.steps)
    factor = record.at(grid.steps, "clip_factor")[:, None]
    clipped = grid["weight_grad_norm"] * np.where(np.isnan(factor), 1.0, factor)
    size = clipped / np.sqrt(grid["weight_count"])
    holds = (size < eps) & (size > 0) & ~done[:, None]
    rows = holds.any(axis=1)
    since = first_lasting(rows[~done], grid.steps[~done])
    if since is None:
        return None
    ratio = median(np.where(holds, size, np.inf).min(axis=1)[rows]) / eps
    where = usual_positions(holds, grid.positions)
    return Finding(
        kind="below_eps",
        where=where,
        since=since,
        severity="severe" if ratio < 0.01 else "mild",
        cause=join_sentence(
            f"the weights of {record.layers_text(where)} hardly move",
            f"the gradient's entries are {smaller_text(ratio)} eps={eps:g}, so "
            f"{record.config['optim']} divides by eps and not by their size",
        ),
        evidence={"ratio": ratio},
        remedies=(f"optim.eps={eps * ratio * 1e-3:.0e}",),
    )


def clipping(record: Record) -> Finding | None:
    """Note clipping that never acts, or that always does, and so is a part of the learning rate."""
    name = record.config.get("clip", "none")
    factor = record.over_steps("clip_factor")
    factor = factor[np.isfinite(factor)]
    if name == "none" or len(factor) < 2:
        return None
    acted = float((factor < 1).mean())
    if 0 < acted < ALWAYS:
        return None
    typical = float(factor.median())
    cause = f"clip={name} never changes the gradient and can be left out"
    if acted:
        cause = (
            f"clip={name} acts in {acted:.0%} of {len(factor)} steps and leaves "
            f"{percent(typical)} of the gradient norm, like a smaller learning rate"
        )
    return Finding(
        kind="clipping",
        where=(),
        since=int(factor.index[0]),
        severity="note",
        cause=cause,
        evidence={"acted": acted, "clip_factor": typical},
        remedies=("clip=none",) if acted == 0 else (),
    )


def _overshoots(record: Record) -> Finding | None:
    descent = record.over_steps("descent").dropna()
    typical = float(descent.iloc[len(descent) // 2 :].median())
    since = first_lasting(descent < record.limit("descent"), descent.index)
    if since is None or typical >= record.limit("descent"):
        return None
    change = "raise" if typical < 0 else "lower"
    size = "to inf"
    if math.isfinite(typical):
        size = f"by {abs(typical):.2g} times the fall that the gradient predicts"
    return _too_large(
        since,
        join_sentence(
            f"the steps {change} the loss of their batch {size}",
            "the learning rate is too large for the curvature of the loss",
        ),
        severe=typical <= -1,
        evidence={"descent": typical},
    )


def _rises(record: Record) -> Finding | None:
    loss = record.over_steps("loss")
    first = float(loss.iloc[0]) if len(loss) else 0.0
    late = float(loss.iloc[len(loss) // 2 :].median())
    since = first_lasting(loss >= record.limit("rise") * first, loss.index)
    if not 0 < first < math.inf or since is None or not late >= record.limit("rise") * first:
        return None
    return _too_large(
        since,
        f"the loss rises from {first:.2g} at the first step to {late:.2g}, the median of the later "
        "half of the steps",
        severe=late >= 10 * record.limit("rise") * first,
        evidence={"rise": late / first},
    )


def _outweighs(record: Record) -> Finding | None:
    grid = record.depth
    later = grid.steps > 0  # weights that begin at 0 have no ratio
    ratios = grid["update_ratio"][later]
    holds = ratios >= record.limit("update")
    rows = holds.any(axis=1)
    since = first_lasting(rows, grid.steps[later])
    if since is None:
        return None
    worst = median(np.nanmax(ratios[rows], axis=1))
    where = usual_positions(holds, grid.positions)
    size = f"by up to {worst:.0%} of their norm" if math.isfinite(worst) else "to inf"
    return _too_large(
        since,
        f"one update changes the weights of {record.layers_text(where)} {size}",
        severe=worst >= 1,
        evidence={"update_ratio": worst},
        where=where,
    )


def _too_large(
    since: int, cause: str, *, severe: bool, evidence: dict[str, float], where: tuple[int, ...] = ()
) -> Finding:
    """Return a finding about steps that are too large.

    Args:
        since: First step with the condition.
        cause: The sentence of the finding.
        severe: Whether it is severe rather than mild.
        evidence: The number behind it.
        where: Positions of the layers; none for the whole network.

    Returns:
        The finding, with smaller steps as remedies.
    """
    severity = "severe" if severe else "mild"
    return Finding("unstable", where, since, severity, cause, evidence, SMALLER_STEPS)
