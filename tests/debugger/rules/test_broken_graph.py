"""Graphs that stay in memory after their update, on hand-made traces."""

import pytest

from gradlab.debugger.rules.broken_graph import find_stored_graphs
from tests.debugger.traces import AT, trace_of


@pytest.mark.parametrize(
    ("live", "is_found"),
    [
        ([0, 1, 2, 3, 4, 5], True),
        ([0, 1, 2, 3, 4], True),
        ([4, 5], False),
        ([1, 2, 3, 4, 5], False),
    ],
)
def test_graphs_of_all_steps_in_memory_are_found(live, is_found):
    trace = trace_of("zbo" * 6)
    trace.live_graphs = dict.fromkeys(live, AT["b"])
    assert [each.kind for each in find_stored_graphs(trace)] == ["kept_graph"] * is_found


def test_three_steps_are_not_enough():
    trace = trace_of("zbo" * 3)
    trace.live_graphs = dict.fromkeys((0, 1, 2), AT["b"])
    assert find_stored_graphs(trace) == []
