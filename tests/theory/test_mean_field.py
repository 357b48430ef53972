"""Predictions of configured networks, from settings and from what a run stores."""

import numpy as np
import pytest

import gradlab
from gradlab.config import choices
from gradlab.errors import PredictionError
from gradlab.theory import mean_field
from gradlab.theory.frame import summary_lines
from gradlab.theory.mean_field import decades_per_layer, predict_config, predict_settings
from tests.configs import settings

COLUMNS = [
    "position",
    "preact_std",
    "act_factor",
    "weight_factor",
    "norm_factor",
    "delta_norm",
    "delta_sd",
    "weight_grad_norm",
    "weight_grad_sd",
]


@pytest.mark.parametrize("model", ["mlp", "resmlp"])
@pytest.mark.parametrize("norm", choices.names("model/norm"))
@pytest.mark.parametrize("init", choices.names("model/init"))
def test_every_choice_is_predicted_or_refused(model, norm, init):
    run = settings(model=model, model__norm=norm, model__init=init, model__depth=4)
    frame = predict_config(run.flat, 64, 10, 1.0, run.train.batch_size)
    if init == "zeros" or (model == "resmlp" and norm != "none"):
        assert frame is None
        with pytest.raises(PredictionError):
            predict_settings(run, 64, 10, 1.0)
        return
    assert list(frame.columns) == COLUMNS
    assert not frame.isna().any().any()
    ours, phase = predict_settings(run, 64, 10, 1.0)
    np.testing.assert_array_equal(frame, ours)
    assert (phase is not None) == (model == "mlp" and norm == "none" and init != "lsuv")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"model": "resmlp", "model__norm": "batch"},
            "model.norm=batch has no prediction with",
        ),
        ({"model__norm": "rms", "model__norm_position": "after"}, "expected model.norm_position=b"),
        ({"model__norm": "torch.nn.Identity"}, "expected model.norm=none or layer or rms or batch"),
        ({"model__activation": "torch.nn.Mish"}, "activation=torch.nn.Mish is not known"),
        ({"model__init": "zeros"}, "below the last layer every error signal is 0, exactly"),
        ({"model__activation": "softplus", "model__init": "critical"}, "softplus has no critical"),
        ({"model__init": "normal", "model__init_gain": 1e300}, "exceed the range of float64"),
    ],
)
def test_networks_without_theory_are_refused(overrides, words):
    run = settings(**overrides)
    with pytest.raises(PredictionError, match=words) as caught:
        predict_settings(run, 64, 10, 1.0)
    assert "\n" not in str(caught.value)
    assert predict_config(run.flat, 64, 10, 1.0, 32) is None
    assert decades_per_layer(run.flat) is None


@pytest.mark.parametrize(
    "overrides",
    [
        {"model__init": "normal", "model__depth": 200},  # squares above 1e308
        {"model__init": "xavier_normal", "model__depth": 600},  # squares below 1e-308
        {"model": "resmlp", "model__branch_scale": 0.0},  # log of 0
    ],
)
def test_networks_whose_signals_overflow_are_refused(overrides):
    run = settings(**overrides)
    with pytest.raises(PredictionError, match="exceed the range of float64"):
        predict_settings(run, 64, 10, 1.0)
    assert predict_config(run.flat, 64, 10, 1.0, 32) is None


def test_a_configuration_without_optional_keys_has_a_prediction():
    flat = {"model": "mlp", "model.depth": 3, "model.width": 8, "model.activation": "tanh"}
    assert predict_config(flat, 4, 2, 1.0, 32) is None
    frame = predict_config({**flat, "model.init": "default"}, 4, 2, 1.0, 32)
    np.testing.assert_array_equal(frame, gradlab.predict([4, 8, 8, 8, 2], "tanh"))


@pytest.mark.parametrize(
    ("overrides", "chi"),
    [
        ({"model__activation": "relu"}, 1 / 6),
        ({"model__activation": "relu", "model__init": "kaiming_normal"}, 1),
        ({"model__activation": "relu", "model__init": "orthogonal"}, 1 / 2),
        ({"model__activation": "relu", "model__init": "lsuv", "model__init_gain": 7.0}, 1),
        ({"model__activation": "gelu", "model__init": "critical"}, 1),
        ({"model__activation": "relu", "model__norm": "rms", "model__init": "orthogonal"}, 1),
        ({"model__activation": "relu", "model__norm": "batch"}, np.pi / (np.pi - 1)),
        ({"model__activation": "identity", "model__init_gain": 3.0}, 3),
    ],
)
def test_decades_per_layer(overrides, chi):
    found = decades_per_layer(settings(**overrides).flat)
    assert found == pytest.approx(np.log10(chi) / 2, abs=1e-9)


def test_decades_per_layer_equal_the_slope_of_a_deep_prediction():
    for overrides in (
        {"model__activation": "sigmoid"},
        {"model__activation": "tanh", "model__norm": "layer"},
        {"model__activation": "sigmoid", "model__init": "lsuv"},
        {"model__activation": "elu", "model__norm": "batch", "train__batch_size": 1000},
    ):
        run = settings(**overrides, model__depth=60, model__width=5000)
        log = np.log10(predict_settings(run, 64, 10, 1.0)[0]["delta_norm"])
        assert (log[30] - log[50]) / 20 == pytest.approx(decades_per_layer(run.flat), abs=2e-3)


def test_a_small_batch_has_no_decades_per_layer():
    assert decades_per_layer(settings(model__norm="batch", train__batch_size=8).flat) is not None
    assert decades_per_layer(settings(model__norm="batch", train__batch_size=2).flat) is None


def test_residual_networks_have_no_decades_per_layer():
    assert decades_per_layer(settings(model="resmlp").flat) is None
    assert decades_per_layer(settings(model__depth=1).flat) is None


def test_predictions_are_cached_and_each_caller_gets_a_copy():
    flat = settings(model__depth=40, model__activation="gelu").flat
    first = predict_config(flat, 64, 10, 1.0, 32)
    first["delta_norm"] = 0.0
    misses = mean_field._predict_network.cache_info().misses
    for _ in range(100):
        again = predict_config(flat, 64, 10, 1.0, 32)
    assert mean_field._predict_network.cache_info().misses == misses
    assert (again["delta_norm"] > 0).all()


def test_the_branch_scale_changes_the_prediction():
    small, large = (settings(model="resmlp", model__branch_scale=s).flat for s in (0.1, 1.0))
    norms = [predict_config(flat, 64, 10, 1.0, 32)["delta_norm"][1] for flat in (small, large)]
    assert norms[1] > 5 * norms[0]


@pytest.mark.parametrize(
    ("activation", "init", "width", "narrow"),
    [
        ("gelu", "kaiming_normal", 64, True),
        ("gelu", "kaiming_normal", 2048, False),
        ("relu", "kaiming_normal", 64, False),  # a large shift, but log-normal
        ("sigmoid", "default", 64, False),
    ],
)
def test_too_narrow_networks_have_no_prediction(activation, init, width, narrow):
    """For 50 GELU layers of width 64 theory would be wrong by 4 decades (measured: -1.3)."""
    model = {"model__activation": activation, "model__init": init, "model__width": width}
    run = settings(model__depth=50, **model)
    assert (predict_config(run.flat, 64, 10, 1.0, 64) is None) is narrow
    frame, phase = predict_settings(run, 64, 10, 1.0)
    assert ("too narrow" in " ".join(summary_lines(frame, phase))) is narrow


def test_a_phase_is_shown_in_a_sentence_and_as_a_table():
    found = gradlab.phase("relu", 1.0)
    assert str(found).startswith("ordered: each layer multiplies the squared error signal by 0.5")
    assert "<td>xi_grad</td><td>1.443</td>" in found._repr_html_()
