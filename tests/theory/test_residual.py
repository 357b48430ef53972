"""Residual networks: theory against networks by hand, and against gradlab's at step 0."""

import numpy as np
import pandas as pd
import pytest

import gradlab
from gradlab.errors import PredictionError
from tests.configs import settings, train
from tests.theory.monte_carlo import assert_agree, many

DEEP = [50] + [100] * 20 + [10]


@pytest.mark.parametrize("s", [1.0, 0.25])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid"])
def test_means_and_spreads(activation, s):
    frame = gradlab.predict(DEEP, activation, sigma_w=1.0, sigma_b=0.2, branch_scale=s)
    found = many(150, DEEP, activation, "normal", 1.0, 0.2, s=s)
    assert_agree(found, frame, (0, 10, 18), off=0.015, rel=0.25)


def test_the_spread_where_the_branch_dominates_the_skip():
    frame = gradlab.predict(DEEP, "tanh", sigma_w=1.0, sigma_b=0.2, branch_scale=4.0)
    found = many(300, DEEP, "tanh", "normal", 1.0, 0.2, s=4.0)
    assert_agree(found, frame, (0, 10), off=0.03, rel=0.2)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_rotations(activation):
    frame = gradlab.predict(DEEP, activation, "orthogonal", branch_scale=0.5)
    assert_agree(many(150, DEEP, activation, "orthogonal", 1.0, s=0.5), frame, (0, 10), off=0.015)


def test_the_signal_equals_gradlabs_networks():
    depth, seeds = 12, 10
    common = {"model": "resmlp", "model__depth": depth, "model__width": 128}
    runs = [
        settings(
            **common, model__init="lecun_normal", model__branch_scale=0.5, seed=seed, train__steps=1
        )
        for seed in range(seeds)
    ]
    data = runs[0].data.call()
    _, sinks = train(*runs, dataset=data)
    rms = float(data.x_train.square().mean().sqrt())
    frame = gradlab.predict(
        [64, *[128] * depth, 10], "relu", "lecun_normal", input_rms=rms, branch_scale=0.5
    )
    rows = [pd.DataFrame(sink.layers[0]).query("axis == 'depth'") for sink in sinks]
    for name in ("preact_std", "act_factor", "weight_factor", "norm_factor"):
        theirs = np.mean([each[name] for each in rows], axis=0)
        # The first layer's inputs are data, whose features differ.
        np.testing.assert_allclose(theirs[1:-1], frame[name][1:-1], rtol=0.08, err_msg=name)
    delta = np.mean([np.log10(each["delta_norm"]) for each in rows], axis=0)
    predicted = np.log10(frame["delta_norm"])
    np.testing.assert_allclose(delta[:-1] - delta[-1], predicted[:-1], atol=0.08)


def test_with_a_scale_of_one_over_root_depth_the_gain_is_bounded_at_any_depth():
    """Zhang et al. 2019; Hayou et al. 2021."""
    decades = [
        np.log10(
            gradlab.predict([256] * (depth + 1) + [10], "tanh", sigma_w=1.0, branch_scale=s)
            .delta_norm.iloc[1:-1]
            .agg(lambda d: d.iloc[0] / d.iloc[-1])
        )
        for depth in (50, 200)
        for s in (depth**-0.5, 1.0)
    ]
    assert all(0 < each < np.log10(np.e) / 2 for each in decades[::2])
    assert decades[3] > decades[1] + 1


def test_branches_with_scale_near_zero_do_not_change_the_gradient():
    frame = gradlab.predict([64] * 12 + [10], "relu", sigma_w=1.0, branch_scale=1e-9)
    assert frame["delta_norm"][0] == pytest.approx(2**-0.5, rel=0.03)  # the first layer is plain
    np.testing.assert_allclose(frame["preact_std"][1:], frame["preact_std"][1], rtol=1e-6)


def test_hidden_layers_of_different_widths_are_refused():
    with pytest.raises(PredictionError, match=r"hidden layers of one width, given \[5, 6\]"):
        gradlab.predict([4, 5, 6, 3], "relu", branch_scale=1.0)
