"""The order of clipping and schedules, on hand-made traces."""

import pytest

from gradlab.debugger.observe.events import GradientClip, OptimizerStep
from gradlab.debugger.rules.update_order import find_early_schedules, find_misplaced_clipping
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
def test_clipping_without_an_effect_is_found(word, kind):
    (found,) = find_misplaced_clipping(trace_of(word, scale=4096.0 if "u" in word else 1.0))
    assert found.kind == kind
    assert found.where.startswith(str(AT["c"]))


@pytest.mark.parametrize(
    "word", ["zbcozbco", "zbcbcozbcbco", "zbucozbuco", "zbco", "zbozbo", "zbc"]
)
def test_clipping_before_the_update_is_correct(word):
    assert find_misplaced_clipping(trace_of(word, scale=4096.0 if "u" in word else 1.0)) == []


def test_gradients_with_different_factors_after_clipping_are_not_a_loss_scale():
    trace = trace_of("zbcuozbcuo", scale=4096.0)
    for update in trace.all(OptimizerStep):
        for clip in trace.all(GradientClip):
            clip.after[2] = (1.0, 1.0)
        update.before[2] = (0.25, 0.25)
        object.__setattr__(update, "weights", frozenset({W, 2}))
    assert find_misplaced_clipping(trace) == []


def test_a_line_that_clips_correctly_once_is_no_mistake():
    assert find_misplaced_clipping(trace_of("zcbcozcbco")) == []


@pytest.mark.parametrize(("word", "is_wrong"), [("zbso", True), ("szbo", True), ("zbos", False)])
def test_a_schedule_before_the_first_update_is_found(word, is_wrong):
    assert [each.kind for each in find_early_schedules(trace_of(word * 2))] == [
        "schedule_before_step"
    ] * is_wrong
    assert find_early_schedules(trace_of("zbs")) == []
