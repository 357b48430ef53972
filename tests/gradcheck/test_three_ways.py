"""The three ways to check a configured network, and the error as a function of the step."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.config import choices
from gradlab.gradcheck.gradient_report import Options
from gradlab.gradcheck.problem import Problem
from gradlab.gradcheck.three_ways import check_settings, problem_of
from gradlab.gradcheck.trade_off import measured_order, save_trade_off, trade_off
from tests.configs import settings

DATA = {
    name: settings(data=name, loss="mse").data.call() for name in ("digits", "delivery", "diabetes")
}
SMALL = {"model__depth": 3, "model__width": 6, "train__batch_size": 8}


@pytest.mark.parametrize(
    ("activation", "init"),
    [
        (activation, init)
        for activation in choices.names("model/activation")
        for init in choices.names("model/init")
        if (activation, init) != ("softplus", "critical")  # softplus has no critical point
    ],
)
def test_every_configured_network_passes_all_three_ways(activation, init):
    run = settings(
        **SMALL, model__activation=activation, model__init=init, data="diabetes", loss="huber"
    )
    result = check_settings(run, run.data.call(), Options(samples=6))
    assert result.passed, str(result)
    assert max(result.by_hand.values()) < 1e-12


ZOO = {
    "model": st.sampled_from(["mlp", "resmlp"]),
    "model__depth": st.integers(0, 6),
    "model__width": st.integers(1, 10),
    "model__activation": st.sampled_from(choices.names("model/activation")),
    "model__init": st.sampled_from(choices.names("model/init")),
    "model__norm": st.sampled_from(choices.names("model/norm")),
    "model__norm_position": st.sampled_from(["before", "after"]),
    "loss": st.sampled_from(choices.names("loss")),
    "data": st.sampled_from(["digits", "delivery", "diabetes"]),
    "loss__scale": st.sampled_from([1e-9, 1.0, 1e6]),
    "train__batch_size": st.integers(2, 16),
    "seed": st.integers(0, 10**6),
}


@hypothesis.settings(max_examples=100)
@given(st.fixed_dictionaries(ZOO))
def test_random_configurations_pass(overrides):
    if overrides["data"] != "digits" and overrides["loss"] not in ("mse", "huber"):
        overrides["loss"] = "mse"
    if (overrides["model__activation"], overrides["model__init"]) == ("softplus", "critical"):
        overrides["model__init"] = "lsuv"  # softplus has no critical point
    run = settings(**overrides)
    result = check_settings(run, DATA[overrides["data"]], Options(samples=4, seed=run.seed))
    assert result.passed, f"{overrides}\n{result}"
    by_hand = overrides["model"] == "mlp" and overrides["model__norm"] == "none"
    assert (result.by_hand is not None) == by_hand
    assert ("not compared with a hand-written backward pass: model" in str(result)) == (not by_hand)


def test_a_vanishing_gradient_is_checked_module_by_module():
    run = settings(model__depth=12, model__activation="sigmoid", model__width=8)
    result = check_settings(run, run.data.call(), Options(samples=6))
    assert result.passed
    assert not result.report.rows[1].resolved  # the gradient of layer 1 is 8 decades smaller
    assert result.report.local
    rows = [row for row in result.report.local if "(Linear)" in row.name or "(Sigmoid)" in row.name]
    assert len(rows) == 13 * 3 + 12
    assert all(row.resolved for row in rows)
    assert not result.report.undecided
    assert "checked step by step instead" in str(result)


def test_the_orders_of_both_schemes_and_the_floor():
    run = settings(model__activation="tanh", model__depth=3, model__width=16)
    model, x, y, loss = problem_of(run, run.data.call())
    table = trade_off(Problem(model, (x,), y, loss, 0), Options())
    assert measured_order(table, "one_sided") == pytest.approx(1, abs=0.1)
    assert measured_order(table, "two_sided") == pytest.approx(2, abs=0.1)
    assert table["two_sided"].min() < 1e-7 < table["one_sided"].min() * 10
    floor = table[table["h"] < 1e-9]
    rounding = np.polyfit(np.log(floor["h"])[:12], np.log(floor["two_sided"])[:12], 1)[0]
    assert rounding == pytest.approx(-1, abs=0.25)


def test_the_figure_is_drawn(tmp_path):
    run = settings(**SMALL, model__activation="tanh")
    model, x, y, loss = problem_of(run, run.data.call())
    table = trade_off(Problem(model, (x,), y, loss, 0), Options(samples=4))
    assert save_trade_off(table, tmp_path / "check").stat().st_size > 10_000
    assert (tmp_path / "check" / "trade_off.svg").exists()
