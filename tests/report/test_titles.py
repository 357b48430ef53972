"""Sentences are true of the table that they are computed from, whatever it holds."""

import numpy as np
import pandas as pd
import pytest

from gradlab.pages.numbers import count
from gradlab.report.titles import (
    FACTOR_NAMES,
    activation_title,
    extremes_title,
    factors_title,
    headline,
    learning_title,
    onset_title,
    reach_title,
    weights_title,
)


def runs(**columns):
    """Runs of which nothing is known but the columns given."""
    base = {
        "verdict": "healthy",
        "decades": 0.0,
        "weight_decades": 0.0,
        "since": np.nan,
        "first_loss": 2.0,
        "final_loss": 1.0,
        "steps": 10,
    }
    return pd.DataFrame({**base, **columns})


NOTHING = runs(
    verdict=["diverged"] * 4,
    decades=np.nan,
    weight_decades=np.nan,
    since=0,
    first_loss=np.nan,
    final_loss=np.nan,
)


def test_of_runs_without_a_finite_number_nothing_is_claimed():
    assert extremes_title(NOTHING, []) == reach_title(NOTHING, [])
    assert reach_title(NOTHING, []) == (
        "In no run can the error signal of the first layer be compared with that of the last"
    )
    assert weights_title(NOTHING) == (
        "In no run can the weight gradient of the first layer be compared with that of the last"
    )
    assert learning_title(NOTHING) == "No run ends with a finite loss"
    assert onset_title(NOTHING) == "4 of 4 networks are sick: 4 were so at initialisation"
    none = pd.DataFrame({"k": ["a"], "act_factor": [np.nan]})
    for key in ("k", None):
        assert activation_title(none, key).startswith("What activations add cannot be told")
    assert "cannot be told" in factors_title([("diverged", dict.fromkeys(FACTOR_NAMES, np.nan))])


def test_runs_without_a_verdict_or_a_step():
    waiting = runs(verdict=[None, None], steps=0, final_loss=np.nan)
    assert headline(waiting) == "None of 2 runs has a verdict yet"
    assert headline(waiting[:1]) == "The run has no verdict yet"
    assert onset_title(waiting) == "No run has a verdict yet"
    assert learning_title(waiting) == "No run with a verdict has a loss"


@pytest.mark.parametrize(
    ("decades", "said"),
    [
        ([0.0, 0.4], "keeps its size to within a factor of ten"),
        ([0.0, np.nan], "keeps its size to within a factor of ten in the 1 of 2 settings that"),
        ([0.0, -1.04], "loses 1.0 decades (k b)"),
        ([1.26, -17.2], "loses 17 decades (k b) and gains 1.3 decades (k a)"),
        ([np.inf, -np.inf], "loses everything (k b) and is infinite (k a)"),
    ],
)
def test_how_much_is_lost_and_gained(decades, said):
    table = pd.DataFrame({"clip": ["a", "b"], "decades": decades})
    told = extremes_title(table, ["clip"]).replace("clip", "k")
    assert told.startswith(f"The error signal {said}")


def test_every_sick_run_is_counted_by_when_it_became_so():
    verdicts = ["healthy", "vanishing", "exploding", "diverged", "diverged"]
    table = runs(verdict=verdicts, since=[np.nan, 0, 20, 3, np.nan])
    assert onset_title(table) == (
        "4 of 5 networks are sick: 1 was so at initialisation, 2 became so in training, "
        "1 became so at a step that is not known"
    )
    assert onset_title(table[:1]) == "No network is sick"
    assert onset_title(table[1:2]) == "1 of 1 network is sick: 1 was so at initialisation"


def test_losses_name_the_diverged_and_the_healthy_that_did_not_learn():
    table = runs(
        verdict=["healthy", "healthy", "healthy", "diverged", "diverged"],
        first_loss=[2.0, 2.0, -1.0, 2.0, 2.0],
        final_loss=[1.0, 1.81, -1.2, np.inf, 9.0],
    )
    assert learning_title(table) == (
        "Median of the last loss: healthy 1 (of 3), diverged 9 (of 1), "
        "not finite in 1 of 2 diverged; in 1 of 3 healthy runs it fell by less than 10%"
    )


def test_weights_are_counted_beside_the_signal():
    table = runs(decades=[0, -5, np.nan], weight_decades=[1, 2, 4])
    assert weights_title(table).endswith("in 2 of 3 runs, the error signal in 1")


def test_what_activations_add_is_said_of_the_key_that_rules():
    table = pd.DataFrame({"model.activation": ["relu"], "model.init_gain": [3.0]})
    table["act_factor"] = -0.15
    for key, name in (("model.activation", "relu"), ("model.init_gain", "init_gain 3")):
        assert activation_title(table, key).endswith(f"activations add: {name} -0.15")


def test_a_key_with_many_levels_is_not_listed():
    table = runs(decades=[0.0] * 7 + [-9.0], **{"optim.lr": range(8)})
    assert reach_title(table, ["optim.lr"]).endswith("over depth in 7 of 8 runs")


def test_factors_sum_to_what_a_layer_adds():
    means = {"act_factor": -0.61, "weight_factor": 0.15, "norm_factor": 0.0}
    level = {"act_factor": -0.15, "weight_factor": 0.149, "norm_factor": -0.001}
    assert factors_title([("vanishing", means), ("healthy", level)]) == (
        "Decades that a layer adds to the error signal: "
        "vanishing -0.46 (activations -0.61, weights +0.15); "
        "healthy +0.00 (activations -0.15, weights +0.15, normalisation +0.00)"
    )


def test_one_is_singular():
    assert [count(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
