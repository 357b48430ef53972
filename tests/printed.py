"""Compares printed output with the output that a page shows."""

import re

import pytest

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def assert_printed(shown: str, printed: str) -> None:
    """Compare words exactly and numbers within 20 %.

    Another processor rounds differently, and the step with the largest change moves with it.
    """
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed)
    numbers = [float(each) for each in NUMBER.findall(printed)]
    assert [float(each) for each in NUMBER.findall(shown)] == pytest.approx(numbers, rel=0.2)
