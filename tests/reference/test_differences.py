"""Finite differences: order of the error, step size, noise, and the restored array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.reference.differences import EPS, difference, noise_of, scale_of, step_size


def at(x):
    return np.array([float(x)])


@pytest.mark.parametrize(("scheme", "order"), [("one_sided", 1), ("two_sided", 2)])
def test_the_order_of_the_truncation_error(scheme, order):
    array, steps = at(0.7), 10.0 ** np.arange(-1, -3.1, -0.5)
    errors = [
        abs(difference(lambda: float(np.exp(array[0])), array, (0,), h, scheme).value - np.exp(0.7))
        for h in steps
    ]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(order, abs=0.05)


def test_differences_are_exact_for_a_line_and_two_sided_ones_for_a_parabola():
    array = at(3.0)
    for f, slope in ((lambda: 5 * array[0] - 2, 5.0), (lambda: array[0] ** 2, 6.0)):
        assert difference(f, array, (0,), 0.5).value == slope
    assert difference(lambda: array[0] ** 2, array, (0,), 0.5).jump == 1.0  # h f''


@given(st.floats(-1e3, 1e3), st.sampled_from(["one_sided", "two_sided"]))
def test_the_array_is_restored_even_if_f_raises(x, scheme):
    array = np.array([[x, 1.0]])
    before = array.copy()
    difference(lambda: float((array**2).sum()), array, (0, 0), 1e-3, scheme)
    calls = []

    def fails():
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError
        return 0.0

    with pytest.raises(ZeroDivisionError):
        difference(fails, array, (0, 0), 1e-3, scheme)
    assert np.array_equal(array, before)


@given(st.floats(1e-6, 1e6), st.floats(0.1, 10))
def test_the_step_is_proportional_to_the_scale(factor, x):
    array = np.array([x, 2 * x])
    assert scale_of(array * factor, (0,)) == pytest.approx(factor * scale_of(array, (0,)))
    assert step_size(array, (1,)) == pytest.approx(EPS ** (1 / 3) * 2 * x)
    assert step_size(array, (1,), "one_sided") == pytest.approx(EPS**0.5 * 2 * x)
    assert scale_of(np.zeros(3), (0,)) == 1.0
    assert scale_of(array, (0,), typical=100.0) == 100.0


@pytest.mark.parametrize("sigma", [1e-14, 1e-10, 1e-6])
def test_added_noise_is_estimated_to_a_factor_of_three(sigma):
    rng = np.random.default_rng(0)
    array = rng.normal(size=20)
    found = [
        noise_of(lambda: float((array**2).sum()) + sigma * rng.normal(), array) for _ in range(40)
    ]
    assert sigma / 2 < np.median(found) < 3 * sigma


def test_the_estimate_of_rounding_noise_is_a_few_roundings():
    array = np.random.default_rng(1).normal(size=(8, 8))
    before = array.copy()
    assert 0 < noise_of(lambda: float(np.tanh(array).sum()), array) < 100 * EPS * 8
    assert np.array_equal(array, before)
