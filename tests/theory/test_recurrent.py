"""Decades per step back through time: theory against recurrent networks by hand."""

import numpy as np
import pytest

from gradlab.errors import PredictionError
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.theory.recurrent import decades_per_step


def matrix(rng, n, radius, kind):
    drawn = rng.standard_normal((n, n))
    if kind == "normal":
        return radius * drawn / np.sqrt(n)
    q, r = np.linalg.qr(drawn)
    return radius * q * np.sign(np.diag(r))


def measured(act, radius, gain, kind, tied=True, n=128, steps=32, seeds=12):
    """Return the gain of log10 ‖dLoss/dh‖ per step back, for a batch, the mean over seeds."""
    rng, phi, out = np.random.default_rng(0), ACTIVATIONS[act], []
    for _ in range(seeds):
        first = matrix(rng, n, radius, kind)
        V = [first if tied else matrix(rng, n, radius, kind) for _ in range(steps)]
        W = gain * rng.standard_normal((n, 2)) / np.sqrt(2)
        h, z = np.zeros((32, n)), []
        for t, x in enumerate(rng.standard_normal((steps, 32, 2))):
            z.append(x @ W.T + h @ V[t].T)
            h = phi.f(z[-1])
        g, norms = np.tile(rng.standard_normal(n), (32, 1)), []
        for t in range(steps - 1, 8, -1):
            norms.append(np.log10(np.linalg.norm(g)))
            g = (g * phi.derivative(z[t])) @ V[t]
        out.append((norms[-1] - norms[0]) / (len(norms) - 1))
    return np.mean(out)


def drive(gain):
    """Return |x|² gain² / 2 of many steps: the variance over units of W x."""
    return gain**2 * (np.random.default_rng(1).standard_normal((4000, 2)) ** 2).mean(1)


@pytest.mark.parametrize("kind", ["normal", "orthogonal"])
@pytest.mark.parametrize(
    ("act", "radius", "gain"),
    [("tanh", 0.9, 1.0), ("tanh", 1.2, 1.0), ("tanh", 1.5, 0.1), ("relu", 1.2, 0.5)],
)
def test_theory_equals_networks_by_hand(act, radius, gain, kind):
    found = measured(act, radius, gain, kind)
    assert found == pytest.approx(decades_per_step(act, radius, drive(gain)), abs=0.008)


def test_a_linear_network_gains_the_logarithm_of_its_radius():
    for radius in (0.9, 1.0, 1.5):
        for v in (0.0, 1.0, drive(1.0)):
            assert decades_per_step("identity", radius, v) == pytest.approx(np.log10(radius))
        exact = measured("identity", radius, 1.0, "orthogonal", seeds=1)
        assert exact == pytest.approx(np.log10(radius), abs=1e-12)


def gained(n, steps, tied, seeds):
    """Return log10 ‖v V^steps‖ / ‖v‖ for Gaussian V of radius 1, the mean over seeds."""
    rng, out = np.random.default_rng(0), []
    for _ in range(seeds):
        g, V = rng.standard_normal(n), matrix(rng, n, 1.0, "normal")
        first = np.linalg.norm(g)
        for _ in range(steps):
            g = g @ (V if tied else matrix(rng, n, 1.0, "normal"))
        out.append(np.log10(np.linalg.norm(g) / first))
    return np.mean(out)


def test_one_matrix_at_all_steps_differs_from_a_new_matrix_at_each():
    """The error that the docstring describes: theory predicts 0 here."""
    assert 0.15 < gained(64, 32, True, 250) < 0.4
    assert -0.2 < gained(64, 32, False, 100) < -0.03
    assert abs(gained(256, 32, True, 40)) < 0.12
    assert abs(gained(64, 16, True, 250)) < 0.1


def test_a_varying_drive_differs_from_its_mean():
    """Steps with small inputs pass on more of the gradient, because units are less saturated."""
    varying, mean = decades_per_step("tanh", 1.0, drive(1.0)), decades_per_step("tanh", 1.0, 1.0)
    assert varying - mean > 0.02
    # Two equal levels are a constant drive.
    same = decades_per_step("tanh", 1.0, np.array([0.5, 0.5]))
    assert same == pytest.approx(decades_per_step("tanh", 1.0, 0.5), abs=1e-12)
    near = decades_per_step("tanh", 1.0, np.array([0.5, 0.5 + 1e-6]))
    assert near == pytest.approx(same, abs=1e-5)


def test_tanh_without_input_is_linear_below_1_and_chaotic_above():
    assert decades_per_step("tanh", 0.9) == pytest.approx(np.log10(0.9), abs=1e-6)
    assert decades_per_step("tanh", 1.5) > 0.02
    assert decades_per_step("tanh", 1.5, 1.0) < -0.02  # input drives it out of chaos


@pytest.mark.parametrize(
    "arguments",
    [
        *[("tanh", radius) for radius in (0.0, 1e-200, 1e200, np.inf, np.nan)],
        *[("tanh", 1.0, drive) for drive in (-1.0, np.nan, [1.0, np.inf], [])],
        ("tanhh", 1.0),
    ],
)
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(PredictionError):
        decades_per_step(*arguments)
