"""The rule for numbers that are no numbers: where and when inf or NaN came in first."""

import numpy as np

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.record import LARGEST, Record

FORWARD = ("weight_norm", "preact_mean", "preact_std", "act_mean", "act_std")
BACKWARD = ("delta_norm", "act_grad_norm", "weight_grad_norm")
HALF = ("float16",)  # a dtype so short that ordinary numbers overflow


def overflow(record: Record) -> Finding | None:
    """Find the first step at which a signal, the loss or a gradient is not finite, and where.

    What overflows on its way forward does so first at the lowest layer; a gradient at the highest.
    """
    grid = record.everything
    forward, backward = (_bad(record, names) for names in (FORWARD, BACKWARD))
    loss = record.over_steps("loss")
    bad = (forward | backward).any(axis=1)
    steps = [*grid.steps[bad], *loss.index[~np.isfinite(loss)]]
    if not steps:
        return None
    step = int(min(steps))
    place, where = "the loss", tuple[int, ...]()
    there = grid.steps == step
    ahead, back = (grid.positions[each[there].any(axis=0)] for each in (forward, backward))
    if len(ahead):
        where, place = (int(ahead[0]),), f"the forward signal of layer {ahead[0]}"
    elif len(back) and np.isfinite(loss[loss.index == step]).all():
        where, place = (int(back[-1]),), f"the gradient of layer {back[-1]}"
    return Finding(
        kind="overflow",
        where=where,
        since=step,
        severity="gross",
        cause=f"{place} is not finite at step {step}{_before(record, step)}",
        evidence={"step": float(step)},
        remedies=(("train.dtype=bfloat16", "train.dtype=float32") if _short(record) else ())
        + ("optim.lr=0.01", "clip=norm", "model.init=xavier_normal"),
    )


def _bad(record: Record, names: tuple[str, ...]) -> np.ndarray:
    """Say by step and layer whether one of the columns is not finite, where there is one."""
    grid = record.everything
    return np.logical_or.reduce(
        [~(np.isfinite(grid[name]) | _absent(record, name)) for name in names]
    )


def _absent(record: Record, name: str) -> np.ndarray:
    """Say of each layer whether a column is not there, as of a module without an activation.

    It is never a number, although the run began with a loss or a gradient that is; and of what
    comes back, either the error signal comes, or nothing was seen of the module at all.
    """
    grid = record.everything
    never, unseen = (np.isnan(grid[column]).all(axis=0) for column in (name, "preact_std"))
    signal = np.isfinite(grid["delta_norm"][0])
    began = bool(np.isfinite(record.over_steps("loss").iloc[:1]).all())
    return never & (signal | began & (unseen | (name in FORWARD)))


def _before(record: Record, step: int) -> str:
    """Say how the loss came there, and what the dtype holds."""
    loss = record.over_steps("loss")
    earlier = loss[loss.index < step]
    told = ""
    if len(earlier) and np.isfinite(earlier.iloc[-1]):
        told = f", after a loss of {earlier.iloc[-1]:.2g} (at first {earlier.iloc[0]:.2g})"
    if _short(record):
        told += f"; {record.dtype} holds at most {LARGEST[record.dtype]:.0f}"
    return told


def _short(record: Record) -> bool:
    return record.dtype in HALF
