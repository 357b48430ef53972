"""Verdicts on networks whose condition is known by construction."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab import schema
from gradlab.diagnosis.depth import attribute, describe
from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.grid import Grid, decades, slope
from gradlab.diagnosis.record import Record
from gradlab.results.nullable import from_arrow
from tests.configs import settings, train


def frame(delta, steps=5, **columns):
    """A record of `steps` steps of a network with the given ‖delta_l‖ and columns by layer."""
    count = len(delta)
    row = {column.name: np.ones(count) for column in schema.STATISTICS}
    none = ("saturated", "dead", "grad_zeros", "grad_nonfinite")
    row |= {name: np.zeros(count) for name in none}
    row |= {"update_ratio": np.full(count, 1e-3)}
    row |= {"delta_norm": np.asarray(delta, float)}
    row |= {name: np.asarray(values, float) for name, values in columns.items()}
    base = pd.DataFrame({"axis": "depth", "position": range(1, count + 1), "module": "x", **row})
    return pd.concat([base.assign(step=10 * i) for i in range(steps)], ignore_index=True)


def arrow(frame, null=False):
    """The same frame with Arrow columns: its NaN are measured, or with `null` not measured."""
    columns = {name: pa.array(frame[name].to_numpy(), from_pandas=null) for name in frame}
    return from_arrow(pa.table(columns))


def measured(**overrides):
    """Train for real; return the frames of the run and how it ended."""
    loop, (sink,) = train(settings(train__steps=60, **overrides))
    layers = pd.concat([pd.DataFrame(rows) for rows in sink.layers], ignore_index=True)
    columns = ["step", "loss", "grad_norm"]
    if loop.minibatches.dataset.task == "classification":
        columns.append("accuracy")
    steps = pd.DataFrame({name: sink.steps(name) for name in columns})
    return layers, steps, loop.history.outcomes[0].status


def judged(**overrides):
    layers, steps, status = measured(**overrides)
    return "diverged" if status == "diverged" else diagnose(layers, steps).verdict


@pytest.mark.parametrize(
    ("expected", "overrides"),
    [
        ("healthy", {}),
        ("healthy", {"model__depth": 30, "model__init": "kaiming_normal"}),
        (
            "healthy",
            {"model__depth": 20, "model__activation": "tanh", "model__init": "xavier_normal"},
        ),
        ("healthy", {"model__depth": 20, "model": "resmlp", "model__branch_scale": 0.1}),
        (
            "healthy",
            {"model__depth": 10, "model__activation": "gelu", "model__init": "kaiming_normal"},
        ),
        ("healthy", {"model__depth": 0}),
        ("vanishing", {"model__depth": 10, "model__activation": "sigmoid"}),
        ("vanishing", {"model__depth": 20}),
        (
            "exploding",
            {
                "model__depth": 10,
                "model__activation": "identity",
                "model__init": "normal",
                "loss__scale": 1e-20,
                "optim__lr": 1e-09,
            },
        ),
        (
            "saturated",
            {
                "model__depth": 3,
                "model__activation": "tanh",
                "model__init": "normal",
                "optim__lr": 1e-06,
            },
        ),
        (
            "diverged",
            {
                "model__depth": 5,
                "loss": "mse",
                "optim__lr": 10000.0,
                "model__init": "kaiming_normal",
            },
        ),
    ],
)
def test_a_network_has_the_verdict_of_its_construction(expected, overrides):
    assert judged(**overrides) == expected


def test_a_network_of_dead_units_is_called_dead():
    layers = frame([0.0, 0.0, 1.0], dead=[0.2, 1.0, 0.0])
    assert diagnose(layers).verdict == "dead"


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"model__depth": 8, "model__activation": "sigmoid"},
        {"model__depth": 10, "model__activation": "identity", "model__init": "normal"},
    ],
)
def test_a_scaled_loss_with_a_scaled_rate_has_the_same_verdict(overrides):
    common = {**overrides, "train__dtype": "float64"}
    one = measured(**common, optim__lr=1e-3)
    scaled = measured(**common, optim__lr=1e6, loss__scale=1e-9)
    findings = [diagnose(layers, steps) for layers, steps, _ in (one, scaled)]
    assert [f.kind for f in findings[0]] == [f.kind for f in findings[1]]
    assert [(f.where, f.since) for f in findings[0]] == [(f.where, f.since) for f in findings[1]]
    assert slope(one[0]) == pytest.approx(slope(scaled[0]), abs=1e-9)


@given(st.floats(-200, 200), st.lists(st.floats(-6, 6), min_size=2, max_size=8))
def test_a_factor_on_the_loss_changes_no_finding(power, logs):
    delta = 10.0 ** np.array(logs)
    plain, scaled = frame(delta), frame(delta * 10.0**power)
    kinds = [[f.kind for f in diagnose(layers)] for layers in (plain, scaled)]
    distance = np.abs(np.array(logs) - logs[-1])
    if (np.abs(distance - 3) > 1e-6).all():  # on the threshold itself, rounding decides
        assert kinds[0] == kinds[1]


def test_findings_have_layers_and_a_first_step():
    early, late = frame([1e-2, 1e-1, 1.0], steps=2), frame([1e-7, 1e-4, 1.0], steps=5)
    layers = pd.concat([early, late.assign(step=late["step"] + 20)])
    (finding,) = diagnose(layers)
    assert (finding.kind, finding.where, finding.since) == ("vanishing", (1, 2), 20)
    assert finding.severity == "severe"
    assert finding.evidence["decades"] == pytest.approx(-7)


def test_a_fault_that_disappears_is_not_a_finding():
    early, late = frame([1e-7, 1e-4, 1.0], steps=2), frame([1e-1, 1.0, 1.0], steps=5)
    assert not diagnose(pd.concat([early, late.assign(step=late["step"] + 20)]))


def test_exact_zeros_below_dead_units_or_zero_weights_are_exact_in_the_cause():
    nothing = frame([0.0, 0.0, 1e-12], act_factor=[np.nan, 0, 1], dead=[1, 1, 0])
    findings = {f.kind: f for f in diagnose(nothing)}
    assert [*findings] == ["dead", "vanishing"]
    assert findings["vanishing"].severity == "severe"
    assert findings["vanishing"].cause == (
        "below layer 3, the error signal is exactly 0, at step 20"
    )
    unweighted = frame([0.0, 0.0, 1e-12], weight_factor=[np.nan, 0, 0], weight_norm=[1, 1, 0])
    (finding,) = diagnose(unweighted)
    assert (finding.kind, finding.where, finding.severity) == ("vanishing", (1, 2), "severe")


UNDERFLOW = {"loss__scale": 1e-60}


@pytest.mark.parametrize(
    "overrides",
    [
        UNDERFLOW,
        {"loss__scale": 1e-9, "train__dtype": "float16"},
        {**UNDERFLOW, "data": "diabetes", "loss": "mse"},
    ],
)
def test_a_network_that_no_gradient_reaches_is_not_healthy(overrides):
    layers, steps, _ = measured(**overrides)
    findings = diagnose(layers, steps)
    assert findings.verdict == "underflow"
    assert findings[0].where == tuple(range(1, 1 + layers["position"].max()))
    assert (findings[0].since, findings[0].severity) == (0, "severe")
    assert findings[0].cause.startswith(
        "the error signal is exactly 0 in every layer, the last included, because"
    )


def test_numbers_that_the_dtype_can_hold_are_not_an_underflow():
    assert judged(loss__scale=1e-38, optim__lr=1e37, train__dtype="float64") == "healthy"


def ended(loss, accuracy, first=1.0):
    """A network whose error signal is 0 from its second record on, and how it did."""
    layers = pd.concat(
        [frame([first] * 3, steps=1), frame([0.0] * 3).assign(step=lambda t: t.step + 10)]
    )
    steps = pd.DataFrame({"step": range(60), "loss": loss, "accuracy": accuracy, "grad_norm": 1.0})
    return diagnose(layers, steps)


def test_zeros_at_the_minimum_are_not_a_finding():
    assert not ended(loss=0.0, accuracy=1.0)
    assert not ended(loss=1e-5, accuracy=1.0)
    assert not ended(loss=0.0, accuracy=None)  # of a regression


def test_zeros_before_the_minimum_are_reported_with_possible_reasons():
    (wrong,) = ended(loss=0.0, accuracy=0.25)
    assert (wrong.since, wrong.evidence) == (10, {"mean_loss": 0.0, "mean_accuracy": 0.25})
    assert wrong.cause.endswith("25% of the batch is classified correctly")
    (high,) = ended(loss=2.0, accuracy=None)
    assert high.cause.endswith("or the loss is at its minimum, 2")
    (never,) = ended(loss=0.0, accuracy=None, first=0.0)
    assert never.since == 0
    assert never.cause.endswith("at its minimum since the first recorded step")
    (unknown,) = diagnose(frame([0.0, 0.0]))
    assert unknown.kind == "underflow"


def test_a_gradient_that_grows_in_training_explodes():
    steps = pd.DataFrame({"step": range(100), "grad_norm": np.geomspace(1e-9, 1e-3, 100)})
    (finding,) = diagnose(frame([1.0, 1.0]), steps)
    assert (finding.kind, finding.since) == ("exploding", 50)


def test_nan_that_was_measured_is_an_overflow_and_null_is_not():
    layers = frame([np.nan, np.nan])
    assert [f.kind for f in diagnose(arrow(layers))] == ["overflow"]
    assert diagnose(arrow(layers, null=True)) == []


def test_nan_in_a_numpy_frame_counts_as_not_measured_unless_the_gradient_has_overflown():
    layers = frame([np.nan, np.nan])
    assert diagnose(layers) == []
    assert [f.kind for f in diagnose(layers.assign(grad_nonfinite=0.5))] == ["overflow"]
    assert [f.kind for f in diagnose(frame([1.0, np.inf]))] == ["overflow"]


def test_the_parts_of_a_cause_sum_to_the_whole():
    layers, _, _ = measured(model__depth=10, model__activation="sigmoid", model__norm="layer")
    for layer in (1, 4, 10):
        found = attribute(Grid(layers), step=20, layer=layer)
        total = decades(layers).loc[20, layer]
        assert found.total == pytest.approx(total)
        assert sum(found.parts().values()) == pytest.approx(total, abs=1e-5)
        assert "skips" not in found.parts()


def test_skip_connections_have_the_remainder_of_the_chain():
    layers, _, _ = measured(model="resmlp", model__depth=8)
    found = attribute(Grid(layers), step=0, layer=1)
    assert sum(found.parts().values()) == pytest.approx(found.total)
    assert found.skips > 1


def test_queries_without_a_gradient_are_a_branch():
    """Post-norm and deep, all steps become equal (Noci et al. 2022): queries get nothing."""
    layers, steps, _ = measured(
        model="transformer", model__depth=10, model__norm="layer", model__norm_position="after",
        model__init="xavier_normal", model__width=16,
    )  # fmt: skip
    late = layers[(layers["step"] > 0) & (layers["axis"] == "depth")]
    weakest = late.loc[late["delta_norm"].idxmin()]
    assert weakest["module"].endswith(("attention.q", "attention.k"))
    assert decades(layers).loc[weakest["step"], weakest["position"]] < -3
    record = Record(layers, steps, {"config": {"model": "transformer"}})
    assert weakest["position"] not in record.main_path.positions
    assert {1, record.depth.positions[-1]} <= {*record.main_path.positions}
    assert "vanishing" not in [f.kind for f in diagnose(layers, steps, record.config)]
    found = attribute(record.depth, int(weakest["step"]), int(weakest["position"]))
    assert f"(module {weakest['module']}), at step {weakest['step']}" in describe(record, found)
    assert "attention and skip connections divide the error signal by" in describe(record, found)


def test_a_plain_network_has_no_branch():
    layers = frame([1e-5, 1e-4, 1e-2, 1.0])
    record = Record(layers, pd.DataFrame())
    assert record.main_path is record.depth


def test_the_cause_matches_its_rows():
    layers, steps, _ = measured(model__depth=10, model__activation="sigmoid")
    (finding,) = diagnose(layers, steps, {"model.activation": "sigmoid", "model.init": "default"})
    step = finding.evidence["step"]
    rows = layers[layers["step"] == step].set_index("position")
    lost = np.log10(rows.delta_norm[1] / rows.delta_norm[11])
    assert finding.evidence["decades"] == pytest.approx(lost)
    by_hand = np.log10(rows.act_factor[:10]).sum()
    assert finding.evidence["activation"] == pytest.approx(by_hand)
    assert (
        f"sigmoid's derivative divides the error signal by {10 ** (-by_hand / 10):.2g} per layer"
        in finding.cause
    )
    assert f"from layer 11 to layer 1, at step {step}" in finding.cause


def test_slope_of_a_geometric_chain():
    assert slope(frame(10.0 ** (-0.6 * np.arange(10)[::-1]))) == pytest.approx(-0.6)
    assert np.isnan(slope(frame([1.0])))
