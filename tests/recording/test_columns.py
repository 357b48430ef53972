"""The formulas of the columns handle null, NaN, and the largest and smallest numbers of a dtype."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab import schema
from gradlab.monitor.tensor_norms import mean_std
from gradlab.recording.columns import columns_from, is_null, ratio, std
from gradlab.recording.norms import matrix_norm, mean, mean_exact, norm, std_exact
from gradlab.recording.rows import NULL, layer_rows

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_mean_and_deviation_of_finite_numbers_are_finite(dtype, data):
    largest = torch.finfo(dtype).max
    shares = data.draw(st.lists(st.floats(-1, 1), min_size=1, max_size=300))
    x = (torch.tensor(shares, dtype=torch.float64) * largest).to(dtype).reshape(1, 1, 1, -1)
    means = mean(x)
    found = [means, std(matrix_norm(x), means, [x]), *mean_std(x), mean_exact(x, -1), std_exact(x)]
    assert all(each.isfinite().all() for each in found)
    exact = np.array(shares).mean()
    assert float(means) / largest == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(values=st.lists(st.floats(0.5, 2), min_size=2, max_size=50), data=st.data())
def test_a_power_of_two_scales_norm_mean_and_deviation(dtype, values, data):
    room = int(math.log2(torch.finfo(dtype).max)) - 4
    scale = 2.0 ** data.draw(st.integers(-room, room))
    x = torch.tensor(values, dtype=dtype).reshape(1, 1, 1, -1)
    for function in (lambda x: norm(x, -1), matrix_norm, mean, std_exact):
        expected = function(x).double() * scale
        np.testing.assert_allclose(function(x * scale).double(), expected, rtol=1e-6)


def test_ratio_is_null_for_two_zeros_and_follows_ieee_754_otherwise():
    found = ratio(tensor(0, 1, math.nan, math.inf, NULL, 1), tensor(0, 0, 1, math.inf, 1, NULL))
    assert is_null(found).tolist() == [True, False, False, False, True, True]
    np.testing.assert_array_equal(found[1:4], [math.inf, math.nan, math.nan])


def test_columns_that_were_not_measured_are_null():
    known = {"delta_norm": tensor(2.0), "back": tensor(6.0)}
    row = dict(zip(schema.names(schema.STATISTICS), columns_from(known)[0], strict=True))
    assert float(row.pop("delta_norm")) == 2.0
    assert float(row.pop("weight_factor")) == 3.0
    assert all(is_null(value) for value in row.values())


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=10))
def test_null_nan_and_inf_differ_in_rows(values):
    column = [NULL if value is None else value for value in values]
    table = torch.full((len(values), len(schema.STATISTICS)), NULL, dtype=torch.float64)
    table[:, 2] = tensor(*column)
    rows = layer_rows(3, [("depth", i, "fc") for i in range(1, len(values) + 1)], table)
    found = rows[schema.STATISTICS[2].name].to_pylist()
    assert [value is None for value in found] == [value is None for value in values]
    np.testing.assert_array_equal(
        [v for v in found if v is not None], [v for v in values if v is not None]
    )
    assert rows["weight_grad_norm"].null_count == len(values)


def test_a_mean_is_finite_when_only_its_sum_overflows():
    x = torch.ones(2, 3, 4, 5)
    x[1, 2] = 3e38
    np.testing.assert_allclose(mean(x), [[1, 1, 1], [1, 1, 3e38]], rtol=1e-6)
