"""The rules about training: the gradient over time, and what the updates do."""

import math

import numpy as np
import pandas as pd

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.onset import mostly, since_when
from gradlab.diagnosis.places import named
from gradlab.diagnosis.profile import median, relative
from gradlab.diagnosis.record import Record

CALM = ("optim.lr=0.01", "clip=norm")


def growing(record: Record) -> Finding | None:
    """Find a gradient that is `growth` times as large as at the first step, and stays so."""
    norms = record.over_steps("grad_norm")
    if not len(norms) or not norms.iloc[0] > 0:
        return None
    ratio = norms / norms.iloc[0]
    since = since_when(ratio >= record.limit("growth"), ratio.index)
    if since is None:
        return None
    factor = float(ratio.max())
    return Finding(
        kind="exploding",
        where=(),
        since=since,
        severity="gross" if factor >= 10 ** record.limit("gross_decades") else "mild",
        cause=f"the gradient grew {factor:.2g} times in training",
        evidence={"growth": factor},
        remedies=("clip=norm", "optim.lr=0.01"),
    )


def unstable(record: Record) -> Finding | None:
    """Find steps that are too large, by the first sign of it: overshooting, a rise, a large share.

    `descent` is 1 - lr λ / 2 on a quadratic of curvature λ along the step: 0 is the edge of
    stability, lr = 2 / λ.
    """
    return _overshoots(record) or _rises(record) or _outweighs(record)


def _overshoots(record: Record) -> Finding | None:
    descent = record.over_steps("descent").dropna()
    typical = float(descent.iloc[len(descent) // 2 :].median())
    since = since_when(descent < record.limit("descent"), descent.index)
    if since is None or typical >= record.limit("descent"):
        return None
    return _too_large(
        since,
        f"the steps overshoot: instead of falling by what the gradient promises, the loss of the "
        f"same batch changes by {-typical:+.2g} times that",
        gross=typical <= -1,
        evidence={"descent": typical},
    )


def _rises(record: Record) -> Finding | None:
    loss = record.over_steps("loss")
    first = float(loss.iloc[0]) if len(loss) else 0.0
    late = float(loss.iloc[len(loss) // 2 :].median())
    since = since_when(loss >= record.limit("rise") * first, loss.index)
    if not 0 < first < math.inf or since is None or not late >= record.limit("rise") * first:
        return None
    return _too_large(
        since,
        f"the loss rises from {first:.2g} to {late:.2g}, the median of the later half",
        gross=late >= 10 * record.limit("rise") * first,
        evidence={"rise": late / first},
    )


def _outweighs(record: Record) -> Finding | None:
    grid = record.depth
    later = grid.steps > 0  # weights that begin at 0 have no ratio
    ratios = grid["update_ratio"][later]
    holds = ratios >= record.limit("update")
    rows = holds.any(axis=1)
    since = since_when(rows, grid.steps[later])
    if since is None:
        return None
    worst = median(np.nanmax(ratios[rows], axis=1))
    where = mostly(holds, grid.positions)
    return _too_large(
        since,
        f"one update changes the weights of {named(where)} by up to {worst:.0%} of their norm",
        gross=worst >= 1,
        evidence={"update_ratio": worst},
        where=where,
    )


def _too_large(
    since: int, cause: str, *, gross: bool, evidence: dict[str, float], where: tuple[int, ...] = ()
) -> Finding:
    severity = "gross" if gross else "mild"
    return Finding("unstable", where, since, severity, cause, evidence, CALM)


def starved(record: Record) -> Finding | None:
    """Find layers that learn slower than the median layer by `starved_decades`.

    Those whose error signal has vanished are that rule's: this is about the others.
    """
    grid = record.depth
    ratios = grid["update_ratio"]
    if ratios.shape[1] < 2:
        return None
    middle = pd.DataFrame(ratios).median(axis=1).to_numpy()[:, None]
    limit = 10.0 ** -record.limit("starved_decades")
    holds = (ratios <= limit * middle) & (middle > 0)
    holds &= ~(relative(grid["delta_norm"]) <= -record.limit("decades"))
    rows = holds.any(axis=1)
    since = since_when(rows, grid.steps)
    if since is None:
        return None
    where = mostly(holds, grid.positions)
    ratio = median(np.nanmin(ratios[rows], axis=1) / middle[rows, 0])
    return Finding(
        kind="starved",
        where=where,
        since=since,
        severity="gross" if ratio <= limit**2 else "mild",
        cause=f"updates of {named(where)}, as a share of the weights, are {ratio:.1g} of the "
        f"median layer's{_lost(record, holds)}",
        evidence={"ratio": ratio},
        remedies=("model.init=kaiming_normal", "model.norm=layer", "optim=adam"),
    )


def _lost(record: Record, holds: np.ndarray) -> str:
    """Say so if an update is lost in rounding: the gradient is not 0, and nothing moves."""
    still = (record.depth["update_ratio"] == 0) & (record.depth["weight_grad_norm"] > 0)
    lost = bool((still & holds).any())
    return f": they are lost in the rounding of {record.dtype}" if lost else ""
