"""The activations by hand, compared with torch and with differences, also for extreme inputs."""

import numpy as np
import pytest
import torch
from mpmath import mp, mpf

from gradlab.config import choices
from gradlab.config.choices import pick
from gradlab.recording.columns import derivative
from gradlab.reference.activation_functions import ACTIVATIONS

EXACT = {
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "tanh": mp.tanh,
    "gelu": lambda z: z * mp.ncdf(z),
    "silu": lambda z: z / (1 + mp.exp(-z)),
    "softplus": lambda z: mp.log(1 + mp.exp(z)),
    "elu": lambda z: z if z > 0 else mp.expm1(z),
}


def test_every_activation_of_the_project_is_written_by_hand():
    assert set(ACTIVATIONS) == set(choices.names("model/activation"))
    assert all(name == a.name and a.use and a.pitfall for name, a in ACTIVATIONS.items())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives_equal_torchs(name):
    z = np.linspace(-35, 35, 701)
    module, by_hand = pick("model/activation", name).call(), ACTIVATIONS[name]
    tensor = torch.from_numpy(z)
    np.testing.assert_allclose(by_hand.f(z), module(tensor).numpy(), rtol=1e-12, atol=1e-15)
    slopes = derivative(module, tensor).numpy()
    np.testing.assert_allclose(by_hand.derivative(z), slopes, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", EXACT)
def test_values_stay_accurate_for_large_inputs(name):
    with mp.workdps(60):
        for z in (-700.0, -60.0, -30.0, -8.0, -1e-9, 1e-9, 8.0, 30.0, 60.0, 700.0):
            exact = EXACT[name](mpf(z))
            assert ACTIVATIONS[name].f(np.array([z]))[0] == pytest.approx(float(exact), rel=2e-12)
            if name != "elu":  # which has a corner of its second derivative at 0
                slope = float(mp.diff(EXACT[name], mpf(z)))
                found = ACTIVATIONS[name].derivative(np.array([z]))[0]
                assert found == pytest.approx(slope, rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_extreme_inputs_give_no_warning_and_no_nan(name, dtype):
    z = np.array([-1e4, -100.0, -1e-30, 0.0, 1e-30, 100.0, 1e4], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, slope = ACTIVATIONS[name].f(z), ACTIVATIONS[name].derivative(z)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    assert value.dtype == slope.dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_kinks_are_where_the_derivative_jumps(name):
    step = 1e-7
    jumps = [
        z
        for z in np.linspace(-4, 4, 81)
        if abs(np.diff(ACTIVATIONS[name].derivative(np.array([z - step, z + step]))))[0] > 1e-3
    ]
    assert np.allclose(jumps, ACTIVATIONS[name].kinks)


def test_the_numbers_in_the_pitfalls_are_right():
    grid = np.linspace(-5, 5, 1_000_001)
    for name, lowest, at in (("gelu", -0.129, -1.41), ("silu", -0.0998, -2.40)):
        slope = ACTIVATIONS[name].derivative(grid)
        assert slope.min() == pytest.approx(lowest, abs=5e-4)
        assert grid[slope.argmin()] == pytest.approx(at, abs=5e-3)
    z = torch.arange(8.5, 9.5, 0.001)
    assert float(z[(1 - torch.tanh(z) ** 2) == 0][0]) == pytest.approx(9.1, abs=0.1)
    z = torch.linspace(-6, 6, 10_001, dtype=torch.float64)
    gelu = torch.nn.functional.gelu
    assert float((gelu(z) - gelu(z, approximate="tanh")).abs().max()) == pytest.approx(
        5e-4, abs=1e-4
    )
