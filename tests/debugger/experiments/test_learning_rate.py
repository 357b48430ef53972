"""Experiments on courses of losses made by hand: a rate is too large if a smaller one learns."""

import pytest

from gradlab.debugger.experiments.learning_rate import rates
from gradlab.debugger.observe.trace import Backward, Trace
from tests.debugger.traces import AT, trace_of


class Courses:
    """A training whose loss follows a formula of the update, for each factor of its rate."""

    samples, is_varied = 32, False

    def __init__(self, courses):
        self.courses, self.asked = courses, []

    def run(self, updates, change=None, *, same=False):
        lr = 1.0 if change is None else change.lr
        self.asked.append((lr, updates))
        return Trace([passed(self.courses[lr](k), k) for k in range(updates)], updates=updates)

    def doubled(self, times):
        return None


def passed(loss, update):
    return Backward(place=AT["b"], update=update, value=loss, reaches={}, before={}, after={})


def stays(_):
    return 2.3


def leaps(k):
    return 2.3 * 3**k


def falls_late(k):
    return 2.3 if k < 30 else 0.5


def falls(k):
    return 2.3 * 0.9**k


def falls_a_little(k):
    return 2.3 - 0.002 * k


def leaps_and_falls(k):
    return 5.0 if k == 1 else 0.1


@pytest.mark.parametrize(
    ("whole", "tenth", "hundredth", "told"),
    [
        (stays, falls, stays, "lr=0.01"),
        (stays, falls_late, stays, "lr=0.01"),
        (leaps, falls_late, stays, "lr=0.01"),
        (stays, leaps_and_falls, falls, "lr=0.001"),
        (stays, falls_a_little, stays, None),
        (leaps, falls_a_little, leaps, None),
        (falls, leaps, leaps, None),
        (falls_late, falls, falls, None),
    ],
)
def test_a_rate_is_too_large_if_a_smaller_one_learns(whole, tenth, hundredth, told):
    courses = Courses({1.0: whole, 0.1: tenth, 0.01: hundredth})
    found = rates(courses, trace_of("zbo" * 5), [])
    assert [each.instead for each in found] == ([told] if told else [])


def test_only_a_trial_that_may_yet_learn_is_made_longer():
    courses = Courses({1.0: leaps, 0.1: leaps_and_falls, 0.01: falls})
    assert rates(courses, trace_of("zbo" * 5), [])
    assert courses.asked == [(1.0, 20), (0.1, 20), (0.01, 20)]
    courses = Courses({1.0: leaps, 0.1: falls_late, 0.01: falls})
    assert rates(courses, trace_of("zbo" * 5), [])
    assert courses.asked == [(1.0, 20), (0.1, 20), (0.1, 60)]
