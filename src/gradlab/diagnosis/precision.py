"""The rules about the range of the dtype: overflow, underflow, and a loss without a gradient."""

import numpy as np
import pandas as pd

from gradlab.diagnosis.advice import SMALLER_RATE
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.grid import extrapolate, first_lasting, log10, median, usual_positions
from gradlab.diagnosis.nonfinite_steps import first_fault, located
from gradlab.diagnosis.record import LARGEST, SMALLEST, Record
from gradlab.diagnosis.sentences import join_sentence

FORWARD = ("weight_norm", "preact_mean", "preact_std", "act_mean", "act_std")
BACKWARD = ("delta_norm", "act_grad_norm", "weight_grad_norm")
SHORT = ("float16",)  # dtypes in which ordinary numbers overflow
REACH = 30.0  # smallest numbers: a normal variable of this deviation rounds to 0 in 1% of cases


def overflow(record: Record) -> Finding | None:
    """Find the first step and layer at which a signal, the loss or a gradient is not finite.

    A signal that overflows in the forward pass does so first in the lowest layer, a gradient in the
    highest. A quantity that was not measured has not overflowed.

    Returns:
        The finding, or None. If the operation is known, the finding names it.
    """
    known = located(record)
    if known is not None and record.watched:
        return known
    grid = record.everything
    forward = np.logical_or.reduce([grid.overflowed(name) for name in FORWARD])
    backward = np.logical_or.reduce([grid.overflowed(name) for name in BACKWARD])
    if "grad_nonfinite" in record.layers:
        backward = backward | (grid["grad_nonfinite"] > 0)
    loss = record.over_steps("loss")
    bad = (forward | backward).any(axis=1)
    steps = [*grid.steps[bad], *loss.index[~np.isfinite(loss)]]
    if not steps:
        return None
    step = int(min(steps))
    name, where = "the loss", tuple[int, ...]()
    now = grid.steps == step
    ahead, back = (grid.positions[each[now].any(axis=0)] for each in (forward, backward))
    if len(ahead):
        where, name = (int(ahead[0]),), "the forward signal"
    elif len(back) and np.isfinite(loss[loss.index == step]).all():
        where, name = (int(back[-1]),), "the gradient"
    layer = f" of {record.layers_text(where)}" if where else ""
    short = record.dtype in SHORT
    reason = f"{record.dtype} holds numbers up to {LARGEST[record.dtype]:,.0f}" if short else ""
    if (fault := first_fault(record)) is not None and fault.operation:
        received = " and ".join(each for each in (fault.received, fault.reason) if each)
        reason = f"{fault.where()}, {received}"
    return Finding(
        kind="overflow",
        where=where,
        since=step,
        severity="severe",
        cause=join_sentence(
            f"{name}{layer} becomes inf or NaN at step {step}{_loss_before(record, step)}", reason
        ),
        evidence={"step": float(step)},
        remedies=(("train.dtype=bfloat16", "train.dtype=float32") if short else ())
        + (SMALLER_RATE, "clip=norm", "model.init=xavier_normal"),
    )


def underflow(record: Record) -> Finding | None:
    """Find layers whose gradient the dtype has rounded to 0, wholly or in large part.

    The weight gradient of a layer underflows where it has exact zeros that no dead unit explains,
    and is as small as the dtype's smallest number. Its size is the size of the entries that are not
    0; if all are, the size that the factors predict.

    Returns:
        The finding, or None.
    """
    grid = record.depth
    zeros, dead = grid["grad_zeros"], grid["dead"]
    # A row of dLoss/dW is 0 for a dead unit, a column for one in the layer before.
    unexplained = zeros - dead - np.pad(dead, ((0, 0), (1, 0)))[:, :-1]
    smallest = SMALLEST.get(record.dtype, SMALLEST["float32"])
    if not (unexplained >= record.limit("zeros")).any():
        return None
    sizes = log10_entries(record)  # -inf where a factor is 0 itself: no dtype would help
    small = np.isfinite(sizes) & (sizes <= np.log10(REACH * smallest))
    done = record.learnt(grid.steps)
    holds = (unexplained >= record.limit("zeros")) & small & ~done[:, None]
    rows = holds.any(axis=1)
    since = first_lasting(rows[~done], grid.steps[~done])
    if since is None:
        return None
    where = usual_positions(holds, grid.positions)
    share = median(np.where(holds, zeros, -np.inf).max(axis=1)[rows])
    size = median(np.where(holds, sizes, np.inf).min(axis=1)[rows])
    return Finding(
        kind="underflow",
        where=where,
        since=since,
        severity="severe" if share >= 0.99 else "mild",
        cause=join_sentence(
            f"{share:.0%} of the weight gradient of {record.layers_text(where)} is exactly 0",
            f"its entries are about 1e{size:.0f}, and {record.dtype} rounds numbers below "
            f"{smallest:.1e} to 0",
        ),
        evidence={"zeros": share, "log10_entry": size, "log10_smallest": float(np.log10(smallest))},
        remedies=("train.dtype=float32", "train.dtype=float64", "loss.scale=1024"),
    )


def log10_entries(record: Record) -> np.ndarray:
    """Return log10 of the root mean square of the nonzero entries of dLoss/dW_l [S, L].

    Where all entries are 0, the size that the factors predict.
    """
    grid = record.depth
    norm, left = grid["weight_grad_norm"], grid["weight_count"] * (1 - grid["grad_zeros"])
    with np.errstate(invalid="ignore"):  # inf - inf
        measured = log10(norm) - log10(left) / 2
    return extrapolate(np.where(norm > 0, measured, np.nan), grid)


def no_gradient(record: Record) -> Finding | None:
    """Find a loss that sends no error signal to any layer, before its minimum.

    All other rules compare layers, and 0/0 is undefined. A loss at its minimum leaves the same
    zeros, so loss and accuracy must show that something was left to learn.

    Returns:
        The finding, or None.
    """
    grid = record.depth
    zero = (grid["delta_norm"] == 0).all(axis=1)
    before = ~np.logical_and.accumulate(zero)  # an earlier gradient may have reached the minimum
    loss, accuracy = (record.at(grid.steps, name) for name in ("loss", "accuracy"))
    holds = zero & ~(before & (loss == 0) & ~(accuracy < 1))
    holds &= ~(accuracy == 1)
    since = first_lasting(holds, grid.steps)
    if since is None:
        return None
    seen = pd.DataFrame({"loss": loss, "accuracy": accuracy})[holds].mean().dropna()
    return Finding(
        kind="underflow",
        where=tuple(int(position) for position in grid.positions),
        since=since,
        severity="severe",
        cause=join_sentence(
            "the error signal is exactly 0 in every layer, the last included",
            _why_zero(record, seen, bool(before.any())),
        ),
        evidence={f"mean_{name}": float(value) for name, value in seen.items()},
        remedies=("train.dtype=float64", "loss.scale=1"),
    )


def _why_zero(record: Record, means: pd.Series, before: bool) -> str:
    """List the possible reasons for a zero error signal.

    Args:
        record: The record of the run.
        means: Mean loss and mean accuracy over the steps with a zero signal, where measured.
        before: Whether there was a signal before.

    Returns:
        The reasons, joined by "or".
    """
    rounded, detached = f"{record.dtype} rounds it to 0", "the loss does not depend on the output"
    if means.get("accuracy", 1.0) < 1:
        correct = f"{means['accuracy']:.0%} of the batch is classified correctly"
        return f"{rounded} or {detached}; the loss is not at its minimum: {correct}"
    if means.get("loss", 0.0) != 0:
        return f"{rounded}, {detached}, or the loss is at its minimum, {means['loss']:.2g}"
    if before:
        return f"{rounded} or the loss is at its minimum"
    return f"{rounded}, {detached}, or the loss is at its minimum since the first recorded step"


def _loss_before(record: Record, step: int) -> str:
    """Describe the last loss before a step; "" if there is none."""
    loss = record.over_steps("loss")
    earlier = loss[loss.index < step]
    if not len(earlier) or not np.isfinite(earlier.iloc[-1]):
        return ""
    first = f" ({earlier.iloc[0]:.2g} at the first step)" if len(earlier) > 1 else ""
    return f", after a loss of {earlier.iloc[-1]:.2g}{first}"
