"""The code of both forms, and the lines in which they differ."""

from difflib import SequenceMatcher
from inspect import getsource
from textwrap import dedent

from gradlab.mistakes.mistake import Mistake

Lines = list[tuple[str, bool]]


def code(mistake: Mistake) -> tuple[Lines, Lines]:
    """Return the lines of the broken and of the fixed form, and whether each is only in that one.

    The first line of each, which only names it, counts as the same.
    """
    broken, fixed = (dedent(getsource(each)).splitlines() for each in mistake.code)
    blocks = SequenceMatcher(None, broken[1:], fixed[1:], autojunk=False).get_matching_blocks()
    same = [(a + i, b + i) for a, b, size in blocks for i in range(size)]
    return _marked(broken, {a for a, _ in same}), _marked(fixed, {b for _, b in same})


def _marked(lines: list[str], same: set[int]) -> Lines:
    head, *body = lines
    return [(head, False), *((line, i not in same) for i, line in enumerate(body))]
