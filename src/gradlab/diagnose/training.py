"""The rules about training: the gradient over time, and what the updates do."""

import pandas as pd

from gradlab.diagnose.finding import Finding
from gradlab.diagnose.onset import since_when
from gradlab.diagnose.profile import decades, over_depth
from gradlab.diagnose.record import Record

CALM = ("optim.lr=0.01", "clip=norm")


def growing(record: Record) -> Finding | None:
    """Find a gradient that is `growth` times as large as at the first step, and stays so."""
    norms = record.over_steps("grad_norm")
    if not len(norms) or not norms.iloc[0] > 0:
        return None
    ratio = norms / norms.iloc[0]
    since = since_when(ratio >= record.limit("growth"))
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
    """Find steps that are too large: the loss of the same batch rises where it was to fall.

    `descent` is 1 - lr λ / 2 on a quadratic of curvature λ along the step: 0 is the edge of
    stability, lr = 2 / λ. Or an update that is a large part of the weights themselves.
    """
    descent = record.over_steps("descent").dropna()
    late = descent.iloc[len(descent) // 2 :]
    since = since_when(descent < record.limit("descent"))
    if since is not None and late.median() < record.limit("descent"):
        typical = float(late.median())
        return Finding(
            kind="unstable",
            where=(),
            since=since,
            severity="gross" if typical <= -1 else "mild",
            cause=f"the steps overshoot: instead of falling by what the gradient promises, the "
            f"loss of the same batch changes by {-typical:+.2g} times that",
            evidence={"descent": typical},
            remedies=CALM,
        )
    ratios = over_depth(record.depth, "update_ratio")
    ratios = ratios[ratios.index > 0]  # weights that begin at 0 have no ratio
    holds = ratios >= record.limit("update")
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    worst = float(ratios.max(axis=1)[holds.any(axis=1)].median())
    layers = [int(p) for p in ratios.columns[holds[holds.any(axis=1)].mean() >= 0.5]]
    return Finding(
        kind="unstable",
        where=tuple(layers),
        since=since,
        severity="gross" if worst >= 1 else "mild",
        cause=f"one update changes the weights of a layer by {worst:.0%} of their norm",
        evidence={"update_ratio": worst},
        remedies=CALM,
    )


def starved(record: Record) -> Finding | None:
    """Find layers that learn slower than the median layer by `starved_decades`.

    Those whose error signal has vanished are that rule's: this is about the others.
    """
    ratios = over_depth(record.depth, "update_ratio")
    if ratios.shape[1] < 2:
        return None
    middle = ratios.median(axis=1)
    limit = 10.0 ** -record.limit("starved_decades")
    holds = ratios.le(limit * middle, axis=0) & (middle > 0).to_numpy()[:, None]
    holds &= ~(decades(record.depth) <= -record.limit("decades"))
    since = since_when(holds.any(axis=1))
    if since is None:
        return None
    often = holds[holds.any(axis=1)].mean() >= 0.5
    where = tuple(int(position) for position in holds.columns[often])
    ratio = float((ratios.min(axis=1) / middle)[holds.any(axis=1)].median())
    return Finding(
        kind="starved",
        where=where,
        since=since,
        severity="gross" if ratio <= limit**2 else "mild",
        cause=f"layer {', '.join(map(str, where)) or '(one or another)'} learns at {ratio:.1g} of "
        f"the median layer's rate, as a share of its weights{_lost(record, ratios, holds)}",
        evidence={"ratio": ratio},
        remedies=("model.init=kaiming_normal", "model.norm=layer", "optim=adam"),
    )


def _lost(record: Record, ratios: pd.DataFrame, holds: pd.DataFrame) -> str:
    """Say so if an update is lost in rounding: the gradient is not 0, and nothing moves."""
    gradient = over_depth(record.depth, "weight_grad_norm")
    lost = bool(((ratios == 0) & (gradient > 0) & holds).any(axis=None))
    return f": its updates are lost in the rounding of {record.dtype}" if lost else ""
