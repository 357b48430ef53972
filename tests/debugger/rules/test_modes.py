"""Graphs that outlive their updates, on traces made by hand."""

import pytest

from gradlab.debugger.rules.modes import memory
from tests.debugger.traces import AT, trace_of


@pytest.mark.parametrize(
    ("alive", "is_kept"),
    [
        ([0, 1, 2, 3, 4, 5], True),
        ([0, 1, 2, 3, 4], True),
        ([4, 5], False),
        ([1, 2, 3, 4, 5], False),
    ],
)
def test_all_graphs_are_kept_or_none(alive, is_kept):
    trace = trace_of("zbo" * 6)
    trace.alive = dict.fromkeys(alive, AT["b"])
    assert [each.kind for each in memory(trace)] == ["kept_graph"] * is_kept


def test_three_updates_tell_nothing():
    trace = trace_of("zbo" * 3)
    trace.alive = dict.fromkeys((0, 1, 2), AT["b"])
    assert memory(trace) == []
