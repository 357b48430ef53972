"""Saturated entries and dead units counted by intervals equal a count by the derivative."""

import pytest
import torch
from torch import nn

from gradlab.monitor.activations import ACTIVATIONS, IntervalCache, is_activation
from gradlab.recording.columns import derivative, steepest_slope

ARGUMENTS = {nn.Threshold: (0.1, 20.0), nn.Hardshrink: (0.7,)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_counts_by_intervals_equal_counts_by_the_derivative(kind, dtype):
    phi = kind(*ARGUMENTS.get(kind, ()))
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    u = (
        u * torch.tensor([0.1, 1.0, 5.0, 40.0, 1.0, 1.0]) + torch.tensor([0, 0, 0, 0, 30, -120])
    ).to(dtype)
    u[0] = 0.0
    share, alive = IntervalCache().count(phi, u, -1)
    slope = derivative(phi, u).abs()
    expected = (slope < 0.05 * steepest_slope(phi)).double().mean()
    assert float(share) == pytest.approx(float(expected), abs=2 / u.numel())  # rounding at edges
    assert alive.tolist() == (slope.amax(0) > 0).double().tolist()


def test_units_of_a_convolution_are_its_channels():
    u = torch.randn(4, 3, 5, 5)
    u[:, 1] = -1.0
    share, alive = IntervalCache().count(nn.ReLU(), u, 1)
    assert alive.tolist() == [1, 0, 1]
    assert float(share) == pytest.approx(float((u <= 0).double().mean()))


def test_nan_entries_are_neither_saturated_nor_dead():
    u = torch.randn(50, 2)
    u[:, 0] = torch.nan
    share, alive = IntervalCache().count(nn.Sigmoid(), u, -1)
    assert alive.tolist() == [1, 1]
    assert float(share) == pytest.approx(0, abs=0.02)


def test_activations_with_parameters_or_random_numbers_are_not_recognised():
    assert not is_activation(nn.RReLU())
    assert not is_activation(nn.PReLU())
    assert not is_activation(nn.Softmax(-1))
    assert is_activation(nn.GELU(approximate="tanh"))
