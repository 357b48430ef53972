"""Each title is true of the table that it is computed from, also for unusual tables."""

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
    """Return a table of runs with default values for all columns except the arguments."""
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


def test_titles_of_runs_without_a_finite_number_claim_nothing():
    assert extremes_title(NOTHING, []) == reach_title(NOTHING, [])
    assert reach_title(NOTHING, []) == (
        "No run has a finite ratio of the error signal between the first and the last layer"
    )
    assert weights_title(NOTHING) == (
        "No run has a finite ratio of the weight gradient between the first and the last layer"
    )
    assert learning_title(NOTHING) == "No run ends with a finite loss"
    assert onset_title(NOTHING) == "4 of 4 runs are not healthy: 4 since initialisation"
    none = pd.DataFrame({"k": ["a"], "act_factor": [np.nan]})
    for key in ("k", None):
        assert activation_title(none, key).startswith("No activation factor is finite")
    unknown = [("diverged", dict.fromkeys(FACTOR_NAMES, np.nan))]
    assert factors_title(unknown) == "No factor is finite and above 0"


def test_titles_of_runs_without_a_verdict_or_a_step():
    waiting = runs(verdict=[None, None], steps=0, final_loss=np.nan)
    assert headline(waiting) == "None of 2 runs has a verdict yet"
    assert headline(waiting[:1]) == "The run has no verdict yet"
    assert onset_title(waiting) == "No run has a verdict yet"
    assert learning_title(waiting) == "No run with a verdict has a loss"


@pytest.mark.parametrize(
    ("decades", "text"),
    [
        ([0.0, 0.4], "changes at most 10-fold"),
        ([0.0, np.nan], "changes at most 10-fold in the 1 of 2 settings that"),
        ([0.0, -1.04], "falls 1.0 decades (11-fold) with k b"),
        (
            [1.26, -17.2],
            "falls 17.2 decades (10^17.2-fold) with k b and grows 1.3 decades (18-fold) with k a",
        ),
        ([np.inf, -np.inf], "falls to exactly 0 with k b and is infinite with k a"),
    ],
)
def test_the_largest_fall_and_growth_of_the_error_signal(decades, text):
    table = pd.DataFrame({"clip": ["a", "b"], "decades": decades})
    title = extremes_title(table, ["clip"]).replace("clip", "k")
    assert title.startswith(f"From last layer to first, the error signal {text}")


def test_unhealthy_runs_are_counted_by_the_step_of_their_first_finding():
    verdicts = ["healthy", "vanishing", "exploding", "diverged", "diverged"]
    table = runs(verdict=verdicts, since=[np.nan, 0, 20, 3, np.nan])
    assert onset_title(table) == (
        "4 of 5 runs are not healthy: 1 since initialisation, 2 since a later step, "
        "1 since an unknown step"
    )
    assert onset_title(table[:1]) == "Healthy"
    assert onset_title(table[1:2]) == "1 of 1 run is not healthy: 1 since initialisation"


def test_losses_count_the_diverged_runs_and_the_healthy_runs_that_did_not_learn():
    table = runs(
        verdict=["healthy", "healthy", "healthy", "diverged", "diverged"],
        first_loss=[2.0, 2.0, -1.0, 2.0, 2.0],
        final_loss=[1.0, 1.81, -1.2, np.inf, 9.0],
    )
    assert learning_title(table) == (
        "Median final loss: healthy 1 (3 runs), diverged 9 (1 run), not finite in 1 of 2 diverged "
        "runs; in 1 of 3 healthy runs the loss fell by less than 10%"
    )


def test_the_title_of_weight_gradients_counts_error_signals_too():
    table = runs(decades=[0, -5, np.nan], weight_decades=[1, 2, 4])
    assert weights_title(table).endswith("in 2 of 3 runs, the error signal in 1")


def test_the_decades_of_activations_are_listed_by_level():
    table = pd.DataFrame({"model.activation": ["relu"], "model.init_gain": [3.0]})
    table["act_factor"] = -0.15
    for key, name in (("model.activation", "relu"), ("model.init_gain", "init_gain 3")):
        assert activation_title(table, key).endswith(
            f"to the error signal: {name} -0.15 (1.4-fold)"
        )


def test_a_key_with_many_levels_is_not_listed():
    table = runs(decades=[0.0] * 7 + [-9.0], **{"optim.lr": range(8)})
    assert reach_title(table, ["optim.lr"]).endswith(
        "changes at most 3.0 decades (1,000-fold) in 7 of 8 runs"
    )


def test_the_decades_of_a_layer_are_the_sum_of_its_factors():
    means = {"act_factor": -0.61, "weight_factor": 0.15, "norm_factor": 0.0}
    level = {"act_factor": -0.15, "weight_factor": 0.149, "norm_factor": -0.001}
    assert factors_title([("vanishing", means), ("healthy", level)]) == (
        "Decades that a layer adds to the error signal: "
        "vanishing -0.46 (2.9-fold): activations -0.61, weights +0.15; "
        "healthy +0.00 (1-fold): activations -0.15, weights +0.15, normalisation +0.00"
    )


def test_the_noun_after_1_is_singular():
    assert [count(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
