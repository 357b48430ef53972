"""Orders of clipping, on traces made by hand."""

import pytest

from gradlab.debugger.observe.trace import Clip, Update
from gradlab.debugger.rules.clipping import clipping
from gradlab.debugger.rules.schedule import schedule
from tests.debugger.traces import AT, W, trace_of


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("zboczboczbo", "clip_after_step"),
        ("boczboczbo", "clip_after_step"),
        ("zcbozcbo", "clip_before_backward"),
        ("czbo" * 2, "clip_after_step"),
        ("zbcuozbcuo", "clip_before_unscale"),
    ],
)
def test_clipping_that_does_nothing_or_harm(word, kind):
    (found,) = clipping(trace_of(word, scale=4096.0 if "u" in word else 1.0))
    assert found.kind == kind
    assert found.where.startswith(str(AT["c"]))


@pytest.mark.parametrize(
    "word", ["zbcozbco", "zbcbcozbcbco", "zbucozbuco", "zbco", "zbozbo", "zbc"]
)
def test_clipping_in_its_place(word):
    assert clipping(trace_of(word, scale=4096.0 if "u" in word else 1.0)) == []


def test_gradients_that_are_weighted_one_by_one_after_clipping_were_not_scaled():
    trace = trace_of("zbcuozbcuo", scale=4096.0)
    for update in trace.all(Update):
        for clip in trace.all(Clip):
            clip.after[2] = (1.0, 1.0)
        update.before[2] = (0.25, 0.25)
        object.__setattr__(update, "held", frozenset({W, 2}))
    assert clipping(trace) == []


def test_one_use_of_a_line_that_is_right_acquits_it():
    assert clipping(trace_of("zcbcozcbco")) == []


@pytest.mark.parametrize(("word", "is_wrong"), [("zbso", True), ("szbo", True), ("zbos", False)])
def test_the_schedule_follows_the_optimiser(word, is_wrong):
    assert [each.kind for each in schedule(trace_of(word * 2))] == [
        "schedule_before_step"
    ] * is_wrong
    assert schedule(trace_of("zbs")) == []
