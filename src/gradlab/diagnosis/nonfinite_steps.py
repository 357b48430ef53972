"""The rules about a located inf or NaN, and about steps that a GradScaler skips."""

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import join_sentence
from gradlab.nonfinite.fault import Fault

LAST = 40  # steps whose skipped share decides
FEWEST = 10  # attempted steps for a judgement; a new GradScaler skips a few to find its scale
OFTEN = 0.5  # skipped share of the last steps


def located(record: Record) -> Finding | None:
    """Return the first located inf or NaN; None if none was located.

    A step that a GradScaler skips leaves no trace in the weights. So its fault is a note, unless
    the scaler skips often, and then it is the cause. A gradient that overflows in a skipped step
    only shows that the scale was too large: no finding.
    """
    fault, often = first_fault(record), _skips_often(record)
    if fault is None:
        return None
    where = tuple(
        position
        for position in record.positions
        if fault.module and record.module(position) == fault.module
    )
    return Finding(
        kind="overflow",
        where=where,
        since=fault.step,
        severity="note" if fault.skipped and not often else "severe",
        cause=join_sentence(fault.sentence(), fault.reason),
        evidence={"step": float(fault.step), "call": float(fault.call)},
        remedies=(fault.remedy,) if fault.remedy else (),
    )


def first_fault(record: Record) -> Fault | None:
    """Return the first fault of a step that was not skipped; else of a loss in a skipped step."""
    often = _skips_often(record)
    found = [fault for fault in record.faults if often or not fault.skipped]
    found += [fault for fault in record.faults if fault.stage in ("data", "forward")]
    return next(iter(found), None)


def skipped(record: Record) -> Finding | None:
    """Find a GradScaler that skips all steps, or at least half of the last ones.

    Returns:
        The finding, or None.
    """
    if not _skips_often(record):
        return None
    steps, attempts, scales = record.skipped, record.attempts, record.scales
    if len(steps) == attempts:
        text = f"a GradScaler skipped every step ({attempts}): nothing has been learnt"
    else:
        last = min(LAST, attempts)
        count = sum(step >= attempts - last for step in steps)
        text = f"a GradScaler skipped {count} of the last {last} steps"
    first: Fault | None = next((f for f in record.faults if f.skipped), None)
    reason = "" if first is None else f"{first.where()} is inf or NaN, first at step {first.step}"
    if len(scales) > 1 and not reason:
        reason = f"the gradient is not finite at loss scales from {scales[0]:g} to {scales[-1]:g}"
    return Finding(
        kind="skipped",
        where=(),
        since=steps[0],
        severity="severe",
        cause=join_sentence(text, reason),
        evidence={
            "skipped": float(len(steps)),
            "attempts": float(attempts),
            **({"first_scale": scales[0], "last_scale": scales[-1]} if scales else {}),
        },
    )


def _skips_often(record: Record) -> bool:
    steps, attempts = record.skipped, record.attempts
    last = min(LAST, attempts)
    recent = sum(step >= attempts - last for step in steps)
    late = sum(step >= attempts - FEWEST for step in steps)  # it has not stopped by itself
    return attempts >= FEWEST and recent >= OFTEN * last and late >= OFTEN * FEWEST
