"""Theory against closed forms, adaptive quadrature, published points and Monte Carlo."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

import gradlab
from gradlab.cli.main import main
from gradlab.config import choices
from gradlab.errors import PredictionError
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.dense import Dense, backward, forward
from gradlab.theory.moments import Moments, average
from gradlab.theory.phase import critical_sigma_w
from tests.theory.monte_carlo import assert_agree, many


def adaptive(f, q):
    """Return E f(z), z ~ N(0, q), by scipy, split at 0."""
    std = np.sqrt(q)

    def weighed(z):
        return float(f(np.array([z]))[0]) * stats.norm.pdf(z, scale=std)

    ends = [(-40 * std, -4.0 * std), (-4 * std, 0), (0, 4 * std), (4 * std, 40 * std)]
    options = {"limit": 400, "epsabs": 0, "epsrel": 1e-11}
    return sum(integrate.quad(weighed, *each, **options)[0] for each in ends)


@pytest.mark.parametrize("q", [1e-4, 0.3, 1.0, 25.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_averages_equal_adaptive_quadrature(name, q):
    phi = ACTIVATIONS[name]
    m = Moments(phi, q)
    assert m.square == pytest.approx(adaptive(lambda z: phi.f(z) ** 2, q), rel=1e-9)
    assert m.slope == pytest.approx(adaptive(lambda z: phi.derivative(z) ** 2, q), rel=1e-9)
    step = 1e-3 * q
    around = [Moments(phi, q + k * step) for k in (-1, 1)]
    assert m.square_1 == pytest.approx((around[1].square - around[0].square) / (2 * step), rel=1e-5)
    second = (around[1].square_1 - around[0].square_1) / (2 * step)
    assert m.square_2 == pytest.approx(second, rel=1e-4, abs=1e-6 * m.square_1 / q)
    slope = (np.log(around[1].slope) - np.log(around[0].slope)) / (2 * step)
    assert m.log_slope_1 == pytest.approx(slope, rel=1e-4, abs=2e-9 / q)


def test_averages_equal_the_closed_forms_of_relu_and_identity():
    relu = Moments(ACTIVATIONS["relu"], 3.0)
    assert (relu.square, relu.slope) == pytest.approx((1.5, 0.5), rel=1e-12)
    assert relu.slope_noise == pytest.approx(5)  # Hanin & Nica 2020
    line = Moments(ACTIVATIONS["identity"], 3.0)
    assert (line.square, line.slope, line.slope_noise) == pytest.approx((3, 1, 2))
    assert average(lambda z: z**4, 2.0) == pytest.approx(12)


@given(st.floats(-4, 4))
def test_scaling_the_variable_equals_scaling_the_variance(power):
    scale = 10.0**power
    a = average(lambda z: np.tanh(z / scale) ** 2, scale**2)
    assert a == pytest.approx(average(lambda z: np.tanh(z) ** 2, 1.0), rel=1e-10)


@pytest.mark.parametrize(
    ("activation", "sigma_w", "sigma_b", "name"),
    [
        ("relu", 2**0.5, 0.0, "critical"),  # He et al. 2015
        ("tanh", 1.0, 0.0, "critical"),  # Schoenholz et al. 2017, figure 1
        ("tanh", 0.9, 0.0, "ordered"),
        ("tanh", 1.5, 0.0, "chaotic"),
        ("relu", 1.0, 0.0, "ordered"),
        ("relu", 2.0, 0.0, "chaotic"),
        ("sigmoid", 2.0, 0.3, "ordered"),
        ("selu", 1.0, 0.0, "chaotic"),
        ("identity", 1.0, 0.0, "critical"),
    ],
)
def test_phases_equal_published_phases(activation, sigma_w, sigma_b, name):
    found = gradlab.phase(activation, sigma_w, sigma_b)
    assert found.phase == name
    assert (found.xi_grad == np.inf) == (name == "critical")


def test_selu_has_a_fixed_point_at_variance_one():
    found = gradlab.phase("selu", 1.0)  # Klambauer et al. 2017: by construction
    assert found.q_star == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("sigma_b", [0.1, 0.05**0.5, 0.5])
@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_the_critical_line_is_critical(activation, sigma_b):
    sigma_w, q = critical_sigma_w(activation, sigma_b)
    found = gradlab.phase(activation, sigma_w, sigma_b)
    assert found.chi_1 == pytest.approx(1, abs=1e-5)
    assert found.q_star == pytest.approx(q, rel=1e-3)


def test_the_correlation_scale_equals_that_of_iterated_correlations():
    # Two inputs through one very wide layer at a time, by Gauss-Hermite in two dimensions.
    sigma_w, sigma_b = 2.0, 0.3
    found = gradlab.phase("tanh", sigma_w, sigma_b)
    x, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()

    def after(c):
        u = np.sqrt(found.q_star) * x[:, None]
        v = np.sqrt(found.q_star) * (c * x[:, None] + np.sqrt(1 - c**2) * x[None])
        mean = (w[:, None] * w[None] * np.tanh(u) * np.tanh(v)).sum()
        return (sigma_w**2 * mean + sigma_b**2) / found.q_star

    assert after(found.c_star) == pytest.approx(found.c_star, abs=1e-6)
    slope = (after(found.c_star + 1e-4) - after(found.c_star - 1e-4)) / 2e-4
    assert found.xi_c == pytest.approx(-1 / np.log(slope), rel=1e-3)


def monte_carlo(widths, phi, sigma_w, sigma_b, seeds):
    """Return log10 of each layer's ‖delta‖ and ‖dW‖ over the last layer's, [seeds, L, 2]."""
    rng = np.random.default_rng(0)
    names = [phi] * (len(widths) - 2) + ["identity"]
    out = []
    for _ in range(seeds):
        network = [
            Dense(
                sigma_w * rng.normal(size=(n, m)) / np.sqrt(n),
                sigma_b * rng.normal(size=m),
                ACTIVATIONS[name],
            )
            for n, m, name in zip(widths, widths[1:], names, strict=False)
        ]
        X = rng.normal(size=(1, widths[0]))
        X *= np.sqrt(X.size / (X**2).sum())
        grads = backward(network, forward(network, X), rng.normal(size=(1, widths[-1])))
        norms = np.array([[np.linalg.norm(g.dZ), np.linalg.norm(g.dW)] for g in grads])
        out.append(np.log10(norms / norms[-1]))
    return np.array(out)


@pytest.mark.parametrize(
    ("activation", "sigma_w", "sigma_b"),
    [
        ("relu", 1.4142, 0.0),
        ("relu", 1.0, 0.2),
        ("tanh", 1.3, 0.2),
        ("sigmoid", 1.0, 0.5),
        ("gelu", 1.4, 0.1),
        ("selu", 1.0, 0.0),
    ],
)
def test_means_and_spreads_equal_those_of_many_networks(activation, sigma_w, sigma_b):
    widths, seeds = [100] * 21 + [10], 100
    found = monte_carlo(widths, activation, sigma_w, sigma_b, seeds)
    frame = gradlab.predict(widths, activation, sigma_w=sigma_w, sigma_b=sigma_b)
    for k, name in enumerate(("delta", "weight_grad")):
        predicted, spread = np.log10(frame[f"{name}_norm"]), frame[f"{name}_sd"]
        for l in (0, 10):
            error = found[:, l, k].std() / np.sqrt(seeds)
            assert found[:, l, k].mean() == pytest.approx(predicted[l], abs=4 * error + 0.01)
            assert found[:, l, k].std() == pytest.approx(spread[l], rel=0.35)


@pytest.mark.parametrize("init", ["default", "xavier_normal", "kaiming_uniform", "lecun_normal"])
def test_predictions_equal_the_recorded_columns_at_step_0(init):
    """Means of the recorder's columns over seeds against the prediction."""
    from tests.configs import settings, train

    seeds, widths = 12, [64, *[64] * 6, 10]
    common = {"model__depth": 6, "model__activation": "tanh", "model__init": init}
    runs = [settings(**common, seed=seed, train__steps=1) for seed in range(seeds)]
    data = runs[0].data.call()
    norm = data.x_train.square().mean(1, keepdim=True).sqrt()
    equal = data.x_train / norm  # all samples have the same norm
    _, sinks = train(*runs, dataset=dataclasses.replace(data, x_train=equal))
    frame = gradlab.predict(widths, "tanh", init)
    measured = {
        name: np.mean([sink.layers[0][name] for sink in sinks], axis=0)
        for name in ("preact_std", "act_factor", "weight_factor")
    }
    for name, tolerance in (("preact_std", 0.05), ("act_factor", 0.05), ("weight_factor", 0.05)):
        # Ten outputs are too few for a mean.
        recorded, predicted = measured[name][:-1], frame[name][:-1]
        np.testing.assert_allclose(recorded, predicted, rtol=tolerance, err_msg=name)


@given(
    st.lists(st.integers(1, 300), min_size=2, max_size=30),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.floats(0.3, 3),
    st.floats(0, 1),
)
def test_any_network_has_a_prediction(widths, activation, sigma_w, sigma_b):
    frame = gradlab.predict(widths, activation, sigma_w=sigma_w, sigma_b=sigma_b)
    assert list(frame["position"]) == list(range(1, len(widths)))
    assert frame["delta_norm"].iloc[-1] == frame["weight_grad_norm"].iloc[-1] == 1
    assert frame["delta_sd"].iloc[-1] == 0
    assert not frame.isna().any().any()


def test_the_unit_of_the_input_scales_only_the_pre_activations():
    one = gradlab.predict([50] * 6, "relu", "kaiming_normal")
    ten = gradlab.predict([50] * 6, "relu", "kaiming_normal", input_rms=10.0)
    np.testing.assert_allclose(ten["preact_std"], 10 * one["preact_std"], rtol=1e-9)
    for name in ("delta_norm", "weight_grad_norm", "act_factor"):
        np.testing.assert_allclose(ten[name], one[name], rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gradlab.predict([4, 4], "rely"), "did you mean relu?"),
        (lambda: gradlab.predict([4, 4], "relu", "xavier"), "did you mean xavier_"),
        (lambda: gradlab.predict([4, 4], "relu", "zeros"), "init=zeros has no decades to predict"),
        (lambda: gradlab.predict(3, "sigmoid"), "widths=3: expected a sequence of at least two"),
        (lambda: gradlab.predict("64", "relu"), "widths='64': expected a sequence"),
        (lambda: gradlab.predict([4, "a"], "relu"), "expected a sequence of at least two whole"),
        (lambda: gradlab.predict([4], "relu"), "expected a sequence of at least two whole numbers"),
        (lambda: gradlab.predict([4, 0], "relu"), r"widths=\[4, 0\]: expected .* above 0"),
        (lambda: gradlab.predict([4, 4], "relu", input_rms=0.0), "input_rms=0.0"),
        (lambda: gradlab.phase("tanh", -1.0), "sigma_w above 0"),
        (lambda: gradlab.phase("tahn", 1.0), "did you mean tanh?"),
    ],
)
def test_a_network_without_theory_gives_a_one_line_error(call, words):
    with pytest.raises(PredictionError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_every_initialisation_is_predicted_or_refused():
    refused = []
    for init in choices.names("model/init"):
        try:
            assert isinstance(gradlab.predict([8, 8, 8], "tanh", init), pd.DataFrame)
        except PredictionError:
            refused.append(init)
    assert refused == ["zeros"]


def test_the_command_prints_table_and_summary(capsys):
    assert main(["predict", "model.activation=sigmoid", "model.depth=10"]) == 0
    printed = capsys.readouterr().out
    assert "A wide and deep network is ordered: " in printed
    assert "the error signal of one sample falls 3" in printed
    assert main(["predict", "model.init=normal", "model.init_gain=0.1", "model.depth=60"]) == 0
    assert len(capsys.readouterr().out.splitlines()) < 35
    assert main(["predict", "model.norm=batch"]) == 0
    assert "normalisation +" in capsys.readouterr().out
    assert main(["predict", "model=resmlp"]) == 0
    assert "over networks).\n" in capsys.readouterr().out
    for wrong, words in (
        ("model.norm_position=after model.norm=rms", "expected model.norm_position=before"),
        ("model=resmlp model.norm=layer", "expected model.norm=none"),
        ("model.init=zeros", "below the last layer every error signal is 0, exactly"),
        ("model.activation=torch.nn.Hardtanh", "is not known"),
    ):
        assert main(["predict", *wrong.split()]) == 2
        assert words in capsys.readouterr().err


def test_theory_imports_no_torch():
    check = (
        "import sys, gradlab; gradlab.predict([64] * 100, 'gelu'); gradlab.phase('tanh', 1.5); "
        "print([m for m in ('torch', 'hydra', 'wandb', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.floats(0, 3), st.integers(2, 40), st.integers(8, 64))
def test_biases_change_nothing_in_a_linear_network(sigma_b, depth, width):
    widths = [width] * depth + [10]
    without = gradlab.predict(widths, "identity", sigma_w=0.54, sigma_b=0.0)
    with_biases = gradlab.predict(widths, "identity", sigma_w=0.54, sigma_b=sigma_b)
    assert np.allclose(with_biases["delta_norm"], without["delta_norm"], rtol=1e-9)
    assert np.allclose(with_biases["delta_sd"], without["delta_sd"], rtol=1e-9)


@pytest.mark.parametrize(
    ("phi", "sigma_w", "sigma_b"),
    [("softplus", 1.0, 1.0), ("selu", 1.0, 0.3), ("sigmoid", 2.0, 1.0), ("relu", 2**0.5, 0.3)],
)
def test_a_network_with_biases_agrees_with_monte_carlo(phi, sigma_w, sigma_b):
    widths = [24] * 20 + [10]
    frame = gradlab.predict(widths, phi, sigma_w=sigma_w, sigma_b=sigma_b)
    found = many(150, widths, phi, scale=sigma_w, sigma_b=sigma_b)
    assert_agree(found, frame, layers=(0, 5, 10))
