"""Norms, means and deviations equal a calculation in float64, also where squares cancel."""

import math

import pytest
import torch

from gradlab.monitor.tensor_norms import mean_std, norm_of, unit_spread

SHAPES = [(7,), (1,), (31, 1000), (300, 256), (4, 5, 600), ()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_norms_are_right_over_the_range_of_float32(shape, scale):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    assert float(norm_of(x)) == pytest.approx(float(x.double().norm()), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mean_and_deviation_survive_an_offset(shape, offset, dtype):
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) + offset).to(dtype)
    mean, std = mean_std(x)
    wide = x.double()
    assert float(mean) == pytest.approx(float(wide.mean()), rel=1e-5, abs=1e-6)
    expected = float(wide.std(correction=0)) if x.numel() > 1 else 0.0
    assert float(std) == pytest.approx(expected, rel=2e-3, abs=1e-4 * (1 + offset) * 1e-3)


@pytest.mark.parametrize("spread", [1.0, 0.1, 1e-3, 0.0])
def test_spread_is_right_if_units_are_nearly_equal(spread):
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(1, 300, generator=generator) + spread * torch.randn(
        40, 300, generator=generator
    )
    wide = grad.double()
    expected = float((wide - wide.mean(0)).norm() / wide.norm())
    assert float(unit_spread(grad, norm_of(grad))) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_undefined_values_are_null_and_nonfinite_values_stay():
    zeros = torch.zeros(3, 4)
    assert math.isnan(float(unit_spread(zeros, norm_of(zeros))))
    assert math.isnan(float(unit_spread(torch.ones(1, 4), torch.tensor(2.0))))
    assert math.isnan(float(norm_of(torch.tensor([math.nan, 1.0]))))
    assert float(norm_of(torch.tensor([math.inf, 1.0]))) == math.inf
