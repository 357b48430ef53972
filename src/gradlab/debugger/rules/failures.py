"""Mistakes that torch itself raises an error for."""

import re
from collections.abc import Sequence

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Failure, InPlace, Trace

OVERWRITTEN = "modified by an inplace operation"
LEAF = ("leaf Variable that requires grad", "leaf variable that requires grad")
TWICE = "backward through the graph a second time"
NUMBER = "'float' object has no attribute 'backward'"


def overwritten(trace: Trace) -> list[Finding]:
    """Find a tensor that the backward pass needs, changed in place: torch raises."""
    failure = trace.failure
    if failure is None or not any(words in failure.message for words in (OVERWRITTEN, *LEAF)):
        return []
    place, name = failure.place, ""
    if OVERWRITTEN in failure.message:
        guilty = _guilty(failure, trace.all(InPlace))
        place, name = (guilty.place, guilty.name) if guilty else (place, "")
    return [
        Finding(
            "in_place_change",
            "a tensor is changed in place that the backward pass still needs",
            f"{place}: {place.code}",
            f"{failure.place}: {failure.message.partition('. Hint')[0]}",
            "a new tensor: h = h + x rather than h += x"
            + (f" or h.{name}(x)" if name and not name.startswith("__") else ""),
        )
    ]


def _guilty(failure: Failure, changes: Sequence[InPlace]) -> InPlace | None:
    """Return the last change in place of a tensor of the shape that torch complains of.

    Of a view of another shape, the change that made its memory's version the one that torch found.
    """
    said = re.search(r"\[[\w.]*Tensor \[([\d, ]*)\]\]", failure.message)
    shape = tuple(int(n) for n in said[1].split(",") if n.strip()) if said else None
    fits = [each for each in changes if each.shape == shape]
    if fits:
        return fits[-1]
    version = re.search(r"is at version (\d+)", failure.message)
    fits = [each for each in changes if version and each.version == int(version[1])]
    return fits[-1] if len({each.place for each in fits}) == 1 else None


def used_twice(trace: Trace) -> list[Finding]:
    """Find a graph that goes on from one update to the next."""
    failure = trace.failure
    if failure is None or TWICE not in failure.message:
        return []
    return [
        Finding(
            "graph_used_twice",
            "a value of an earlier step carries its graph into this one, where it is gone",
            f"{failure.place}: {failure.place.code}",
            f"torch: {failure.message.partition(' (')[0]}",
            "h = h.detach() on what is carried over; or one backward pass of the sum of the losses",
        )
    ]


def number(trace: Trace) -> list[Finding]:
    """Find a backward pass of a plain number."""
    failure = trace.failure
    if failure is None or failure.message != NUMBER:
        return []
    return [
        Finding(
            "item_in_path",
            "the loss is a plain number, which has no history",
            f"{failure.place}: {failure.place.code}",
            f"{failure.kind}: {failure.message}",
            "backward on the loss tensor; .item() only on what is logged or kept",
        )
    ]
