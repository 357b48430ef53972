"""Normalisation before the activation: theory against networks by hand and gradlab's networks."""

import dataclasses

import numpy as np
import pytest

import gradlab
from gradlab.errors import PredictionError
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.theory.normalised import BatchStatistics
from tests.configs import settings, train
from tests.theory.monte_carlo import assert_agree, many

DEEP = [50] + [100] * 20 + [10]


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "silu"])
def test_normalisation_over_a_samples_units(activation, norm):
    frame = gradlab.predict(DEEP, activation, sigma_w=1.4, sigma_b=0.3, norm=norm)
    found = many(150, DEEP, activation, "normal", 1.4, 0.3, norm)
    assert_agree(found, frame, (0, 10, 18), off=0.02)


def test_normalisation_removes_a_gain():
    one, ten = (gradlab.predict(DEEP, "gelu", "orthogonal", gain=g, norm="rms") for g in (1, 10.0))
    np.testing.assert_allclose(ten["norm_factor"][:-1], one["norm_factor"][:-1] / 10)
    np.testing.assert_allclose(ten["delta_sd"], one["delta_sd"])
    np.testing.assert_allclose(
        ten["delta_norm"][1:-1] / ten["delta_norm"][1],
        one["delta_norm"][1:-1] / one["delta_norm"][1],
    )


def measured(seeds, dataset=None, **common):
    runs = [settings(**common, seed=seed, train__steps=1) for seed in range(seeds)]
    _, sinks = train(*runs, dataset=dataset or runs[0].data.call())
    return sinks


def columns(sinks, *names):
    """Return means over seeds, [L] each."""
    return {name: np.mean([sink.layers[0][name] for sink in sinks], axis=0) for name in names}


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
def test_factors_equal_recorded_factors(norm):
    common = {"model__depth": 6, "model__activation": "elu", "model__norm": norm}
    sinks = measured(10, model__width=128, model__init="xavier_normal", **common)
    run = settings(**common)
    x = run.data.call().x_train
    rms = float(x.square().mean().sqrt())
    frame = gradlab.predict(
        [64, *[128] * 6, 10], "elu", "xavier_normal", input_rms=rms, norm=norm, batch=32
    )
    found = columns(sinks, "preact_std", "act_factor", "weight_factor", "norm_factor")
    for name, theirs in found.items():
        # The first layer's inputs are data, and ten outputs are too few for a mean.
        np.testing.assert_allclose(theirs[1:-1], frame[name][1:-1], rtol=0.08, err_msg=name)


def test_batch_normalised_relu_networks_grow_by_yangs_factor():
    depth = 30
    sinks = measured(
        3,
        model__depth=depth,
        model__width=256,
        model__norm="batch",
        model__activation="relu",
        model__init="kaiming_normal",
        train__batch_size=128,
    )
    decades = np.log10(columns(sinks, "delta_norm")["delta_norm"])
    growth = 10 ** ((decades[4] - decades[24]) / 20)
    assert growth == pytest.approx(1.21, abs=0.012)
    frame = gradlab.predict(
        [64, *[256] * depth, 10], "relu", "kaiming_normal", norm="batch", batch=128
    )
    predicted = np.log10(frame["delta_norm"])
    assert predicted[4] - predicted[24] == pytest.approx(decades[4] - decades[24], rel=0.05)
    assert predicted[0] == pytest.approx(decades[0] - decades[-1], abs=0.3)


def one_batch(phi, n, depth, B, rng):
    """Return log10 of each layer's ‖delta‖ over the last layer's, for uncorrelated samples."""
    h, layers = rng.standard_normal((B, n)), []
    for _ in range(depth):
        W = rng.standard_normal((n, n)) / np.sqrt(n)
        z = h @ W
        u = (z - z.mean(0)) / z.std(0)
        layers.append((W, u, z.std(0)))
        h = phi.f(u)
    g = rng.standard_normal((B, 10))
    out = [np.linalg.norm(g)]
    g = g @ (rng.standard_normal((n, 10)) / np.sqrt(n)).T
    for W, u, std in layers[::-1]:
        d = g * phi.derivative(u)
        d = (d - d.mean(0) - u * (u * d).mean(0)) / std
        out.append(np.linalg.norm(d))
        g = d @ W.T
    return np.log10(out[::-1]) - np.log10(out[0])


@pytest.mark.parametrize("B", [16, 64])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid", "elu"])
def test_growth_in_a_finite_batch(activation, B):
    phi, rng = ACTIVATIONS[activation], np.random.default_rng(0)
    found = np.mean([one_batch(phi, 128, 20, B, rng) for _ in range(12)], axis=0)
    growth = 10 ** ((found[3] - found[16]) / 13)
    assert growth == pytest.approx(np.sqrt(BatchStatistics(phi, B).growth), rel=0.015)
    frame = gradlab.predict([128] * 21 + [10], activation, "lecun_normal", norm="batch", batch=B)
    assert np.log10(frame["delta_norm"][0]) == pytest.approx(found[0], abs=0.15)


def test_a_network_without_theory_gives_a_one_line_error():
    for arguments, words in (
        ({"norm": "batch", "batch": 4}, "batch=4 has no prediction with norm=batch: expected at l"),
        ({"norm": "btach"}, "norm=btach has no prediction; did you mean batch?"),
        ({"norm": "layer", "branch_scale": 1.0}, "in a residual network: expected norm=none"),
    ):
        with pytest.raises(PredictionError, match=words) as caught:
            gradlab.predict([8, 8, 8], "relu", **arguments)
        assert "\n" not in str(caught.value)


def test_the_unit_of_the_inputs_affects_only_the_first_layer():
    data = settings().data.call()
    louder = dataclasses.replace(data, x_train=data.x_train * 7)
    common = {"model__depth": 3, "model__norm": "rms", "model__activation": "tanh"}
    one, seven = (columns(measured(2, d, **common), "norm_factor") for d in (data, louder))
    assert one["norm_factor"][0] > seven["norm_factor"][0]
    np.testing.assert_allclose(one["norm_factor"][2:], seven["norm_factor"][2:], rtol=0.2)
