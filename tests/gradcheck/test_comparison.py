"""The comparison of one array: wrong elements, kinks, and derivatives below the noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.gradcheck.comparison import compare, sample
from gradlab.gradcheck.gradient_report import Options

EVERY = Options(samples=None)


def check(f, x, gradient, options=EVERY):
    array = np.array(x, dtype=float)

    def value():
        return float(f(array))

    analytic = np.array(gradient(array), dtype=float)
    return compare("x", value, array, analytic, options)


def test_a_correct_gradient_passes_with_both_schemes():
    for scheme, tolerance in (("two_sided", 1e-8), ("one_sided", 1e-5)):
        options = Options(scheme, None)
        row = check(lambda x: np.sin(x).sum(), [0.3, 1.2, -2.0], np.cos, options)
        assert not row.wrong
        assert row.worst < tolerance


@given(st.floats(1.0001, 3.0), st.integers(0, 4))
def test_one_wrong_element_is_located(factor, at):
    def gradient(x):
        out = 3 * x**2
        out[at] *= factor
        return out

    row = check(lambda x: (x**3).sum(), np.linspace(1, 2, 5), gradient)
    assert row.wrong
    assert row.where == (at,)
    assert row.worst == pytest.approx(1 - 1 / factor, rel=1e-3)


@given(st.floats(-1, 1), st.floats(-12, -6))
def test_an_element_near_a_kink_is_counted_separately(sign, power):
    # The kink is less than h = 6e-6 away: the analytic derivative is one of both slopes.
    x = np.array([np.copysign(10.0**power, sign), 0.7])
    row = check(
        lambda x: np.maximum(x, 0).sum() + 0.1 * (x**2).sum(), x, lambda x: (x > 0) + 0.2 * x
    )
    assert not row.wrong
    assert row.kinks == (10.0**power < 3e-6)


def test_a_point_on_a_kink_has_no_gradient_to_compare():
    for slope in (0.0, 0.5, 1.0):  # any is a subgradient
        row = check(lambda x: np.abs(x).sum(), [0.0, 0.0], lambda x, slope=slope: 0 * x + slope)
        assert (row.wrong, row.resolved) == (False, False)
        assert row.kinks == (2 if slope else 0)  # the two-sided difference is 0 there


def test_two_samples_on_a_kink_whose_slopes_do_not_enclose_the_gradient():
    # Slope 3 to the right, 1 to the left, and 0 by ReLU's convention at 0.
    row = check(
        lambda x: 3 * np.maximum(x, 0).sum() - np.maximum(-x, 0).sum(), [0.0], lambda x: 0 * x
    )
    assert (row.kinks, row.wrong) == (1, False)


def test_a_wrong_gradient_near_a_kink_is_wrong():
    row = check(lambda x: np.maximum(x, 0).sum(), [1e-7], lambda x: 0 * x + 3.0)
    assert row.wrong


def test_elements_below_the_rounding_error_are_counted_and_missing_gradients_are_wrong():
    def f(x):
        return 1e6 + (x**2).sum()

    hidden = check(f, [1e-9, 2e-9], lambda x: 2 * x)
    assert not hidden.wrong
    assert hidden.unresolved == 2
    assert not hidden.resolved
    assert check(f, [1.0, 2.0], lambda x: 0 * x).wrong


@given(st.floats(-8, 8))
def test_the_result_does_not_depend_on_the_scale_of_the_function(power):
    scale = 10.0**power
    row = check(lambda x: scale * np.sin(x).sum(), [0.3, 1.2], lambda x: scale * np.cos(x))
    assert not row.wrong
    assert row.worst < 1e-8
    bad = check(lambda x: scale * np.sin(x).sum(), [0.3, 1.2], lambda x: scale * np.sin(x))
    assert bad.wrong


def test_a_wrong_shape_and_a_nan_are_described():
    row = check(lambda x: x.sum(), [1.0, 2.0], lambda x: np.ones((2, 1)))
    assert (row.wrong, row.problem) == (True, "shape [2, 1], expected [2]")
    row = check(lambda x: x.sum(), [1.0, 2.0], lambda x: x * np.nan)
    assert row.wrong
    assert "nan at [0]" in row.problem


def test_the_sample_is_reproducible_and_contains_the_largest_element():
    gradient = np.zeros((40, 50))
    gradient[7, 31] = -2.0
    found = sample(gradient, Options(samples=10))
    assert len(found) in (9, 10)
    assert (7, 31) in found
    assert sample(gradient, Options(samples=10)) == found
    assert len(sample(gradient, EVERY)) == 2000
