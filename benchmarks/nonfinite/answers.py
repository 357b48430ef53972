"""Compares the report of a tool with the label of the program."""

import re
from dataclasses import dataclass

from nonfinite.corpus import Program, Truth
from nonfinite.oracle import plain

QUOTED_SOURCE = re.compile(r"(\.py:\d+):.*")


@dataclass(frozen=True)
class Answer:
    """Whether a tool named the first non-finite value of a program.

    Attributes:
        program: the program.
        text: the report on the broken program.
        operation: whether the report names the operation; for data, that the batch is wrong.
        line: whether the first line number in the report is right.
        step: whether the first step in the report is right.
        alarm: the report on the correct twin, empty if there is none.
        ratio: the time of the twin with the tool, over the time without it.
    """

    program: Program
    text: str
    operation: bool
    line: bool
    step: bool
    alarm: str
    ratio: float


def names_operation(text: str, truth: Truth) -> bool:
    """Return whether a text names the operation as a whole word, outside of quoted source."""
    if truth.phase == "data":
        sample = truth.sample is None or re.search(rf"\b{truth.sample}\b", text) is not None
        return sample and re.search(r"\b(?:batch|data|inputs?|targets?)\b", text) is not None
    words = re.findall(r"\w+", QUOTED_SOURCE.sub(r"\1", text).lower())
    return bool({plain(word) for word in words} & {plain(name) for name in truth.operations})


def names_line(text: str, truth: Truth) -> bool:
    """Return whether the first line number in a text is right."""
    found = re.search(r"\.py:(\d+)|\bline (\d+)", text)
    return found is not None and int(found[1] or found[2]) in truth.lines


def names_step(text: str, truth: Truth) -> bool:
    """Return whether the first step in a text is right."""
    found = re.search(r"\b(?:step|update|iteration) (\d+)", text)
    return found is not None and int(found[1]) == truth.step
