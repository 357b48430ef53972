"""Experiments with learning rates, on losses that follow formulas."""

import pytest

from gradlab.debugger.experiments import find_learning_problem
from gradlab.debugger.observe.events import BackwardPass
from gradlab.debugger.observe.trace import Trace
from tests.debugger.traces import AT, trace_of


class Formulas:
    """A training whose loss is a function of the step, one for each factor of the rate."""

    samples, has_several_batches = 32, False

    def __init__(self, formulas):
        self.formulas, self.runs = formulas, []

    def run(self, steps, intervention=None, *, one_batch=False):
        lr = 1.0 if intervention is None else intervention.lr
        self.runs.append((lr, steps))
        return Trace([backward_pass(self.formulas[lr](k), k) for k in range(steps)], steps=steps)

    def run_repeated(self, times):
        return None


def backward_pass(loss, step):
    return BackwardPass(line=AT["b"], step=step, value=loss, reaches={}, before={}, after={})


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
    ("whole", "tenth", "hundredth", "lr"),
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
def test_a_rate_is_too_large_if_a_smaller_rate_learns(whole, tenth, hundredth, lr):
    training = Formulas({1.0: whole, 0.1: tenth, 0.01: hundredth})
    found = find_learning_problem(training, trace_of("zbo" * 5), [])
    assert [each.instead for each in found] == ([lr] if lr else [])


def test_an_experiment_is_extended_only_if_the_loss_may_still_fall():
    training = Formulas({1.0: leaps, 0.1: leaps_and_falls, 0.01: falls})
    assert find_learning_problem(training, trace_of("zbo" * 5), [])
    assert training.runs == [(1.0, 20), (0.1, 20), (0.01, 20)]
    training = Formulas({1.0: leaps, 0.1: falls_late, 0.01: falls})
    assert find_learning_problem(training, trace_of("zbo" * 5), [])
    assert training.runs == [(1.0, 20), (0.1, 20), (0.1, 60)]
