"""Rotations and LSUV: means and spreads against many networks of equal and unequal widths."""

import numpy as np
import pytest

import gradlab
from gradlab.theory.moments import Moments, Noise
from tests.theory.monte_carlo import assert_agree, many

DEEP = [50] + [100] * 20 + [10]
TAPERED = [60, 120, 80, 40, 160, 90, 30, 10]


@pytest.mark.parametrize("widths", [DEEP, TAPERED, TAPERED[::-1]])
@pytest.mark.parametrize(("activation", "gain"), [("relu", 1.4), ("tanh", 1.2), ("sigmoid", 1.0)])
def test_rotations(activation, gain, widths):
    frame = gradlab.predict(widths, activation, "orthogonal", gain=gain)
    found = many(150, widths, activation, "orthogonal", gain)
    assert_agree(found, frame, (0, len(widths) // 2))


def test_a_linear_network_of_rotations_does_not_vary():
    frame = gradlab.predict([64] * 30, "identity", "orthogonal")
    for name in ("preact_std", "act_factor", "weight_factor", "delta_norm", "weight_grad_norm"):
        np.testing.assert_allclose(frame[name], 1, rtol=1e-9)
    np.testing.assert_allclose(frame[["delta_sd", "weight_grad_sd"]], 0, atol=1e-6)


def test_the_noise_on_a_sphere():
    from gradlab.reference.activation_functions import ACTIVATIONS

    rng, n = np.random.default_rng(0), 200
    z, g = rng.standard_normal((2, 20_000, n))
    z, g = (v * np.sqrt(n) / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, g))
    for name in ("relu", "tanh", "gelu"):
        phi = ACTIVATIONS[name]
        m = Moments(phi, 1.0)
        noise = Noise(m, n, 0.0)
        square = (phi.f(z) ** 2).mean(1) / m.square
        slope = ((phi.derivative(z) * g) ** 2).mean(1) / m.slope
        found = np.cov(square, slope)
        assert found[0, 0] == pytest.approx(noise.square, rel=0.05)
        assert found[1, 1] == pytest.approx(noise.slope, rel=0.05)
        assert found[0, 1] == pytest.approx(noise.covariance, rel=0.1, abs=1e-5)
        assert square.mean() - 1 == pytest.approx(noise.square_shift, abs=5e-4)
        assert slope.mean() - 1 == pytest.approx(noise.slope_shift, abs=1e-3)


@pytest.mark.parametrize("widths", [DEEP, TAPERED])
@pytest.mark.parametrize(
    ("activation", "gain"), [("relu", 1.0), ("tanh", 1.0), ("sigmoid", 2.0), ("gelu", 1.0)]
)
def test_lsuv(activation, gain, widths):
    frame = gradlab.predict(widths, activation, "lsuv", gain=gain)
    np.testing.assert_allclose(frame["preact_std"], gain, rtol=1e-12)
    found = many(150, widths, activation, "lsuv", gain)
    assert_agree(found, frame, (0, len(widths) // 2, len(widths) - 3), off=0.02)
