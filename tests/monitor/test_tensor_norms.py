"""Sizes against float64, over the whole range and where squares cancel."""

import math

import pytest
import torch

from gradlab.monitor.tensor_norms import mean_std, size_of, unit_spread

SHAPES = [(7,), (1,), (31, 1000), (300, 256), (4, 5, 600), ()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_norms_are_right_over_the_whole_range(shape, scale):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    assert float(size_of(x)) == pytest.approx(float(x.double().norm()), rel=1e-6)


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
def test_spread_is_right_where_units_are_alike(spread):
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(1, 300, generator=generator) + spread * torch.randn(
        40, 300, generator=generator
    )
    wide = grad.double()
    expected = float((wide - wide.mean(0)).norm() / wide.norm())
    assert float(unit_spread(grad, size_of(grad))) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_what_has_no_size_says_so():
    nothing = torch.zeros(3, 4)
    assert math.isnan(float(unit_spread(nothing, size_of(nothing))))
    assert math.isnan(float(unit_spread(torch.ones(1, 4), torch.tensor(2.0))))
    assert math.isnan(float(size_of(torch.tensor([math.nan, 1.0]))))
    assert float(size_of(torch.tensor([math.inf, 1.0]))) == math.inf
