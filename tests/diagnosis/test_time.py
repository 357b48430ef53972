"""The rules over time, on recurrent networks whose decades are known by construction."""

import numpy as np
import pandas as pd
import pytest

from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.sentences import change_text
from tests.configs import settings, train

T = 30


def run(radius, **more):
    """A linear network with a rotation: log10 radius decades a step, exactly."""
    return settings(
        model="rnn", data="adding", loss="mse", data__length=T, data__samples=300,
        **{"model__activation": "identity", "model__init": "orthogonal",
           "model__spectral_radius": radius, "model__width": 16, "train__steps": 3,
           "record__every": 1, "optim__lr": 1e-30, "train__dtype": "float64", **more},
    )  # fmt: skip


def findings(*members):
    _, sinks = train(*members)
    frames = [
        pd.concat([pd.DataFrame(layers) for layers in sink.layers]).assign(run=str(i))
        for i, sink in enumerate(sinks)
    ]
    return diagnose(pd.concat(frames), None, members[0].flat)


@pytest.mark.parametrize(
    ("radius", "kind", "severity"),
    [(0.7, "vanishing", "mild"), (1.36, "exploding", "mild"), (0.55, "vanishing", "severe")],
)
def test_a_radius_is_found_with_its_decades(radius, kind, severity):
    found = findings(run(radius))
    (finding,) = [f for f in found if f.axis == "time"]
    assert (finding.kind, finding.since, finding.severity) == (kind, 0, severity)
    decades = (T - 1) * np.log10(radius)
    assert finding.evidence["decades"] == pytest.approx(decades, rel=1e-6)
    assert finding.evidence["weights"] == pytest.approx(decades, rel=1e-6)
    assert finding.evidence["activation"] == 0
    assert finding.evidence["time"] == 1
    reached = T - 3.0 / abs(np.log10(radius))
    assert finding.where == tuple(t for t in range(1, T + 1) if t <= reached)
    assert f"{change_text(decades)} from time step 30 to time step 1, at step" in finding.cause
    verb, factor = ("multiply", radius) if radius > 1 else ("divide", 1 / radius)
    reason = f"the recurrent weights {verb} the gradient by {factor:.2g} per time step"
    assert reason in finding.cause
    assert found.verdict == kind


@pytest.mark.parametrize("radius", [0.85, 1.0, 1.15])
def test_a_healthy_radius_is_not(radius):
    assert not [f for f in findings(run(radius)) if f.axis == "time"]


def test_the_worst_layer_is_named():
    found = findings(run(0.7, model__depth=2))
    (finding,) = [f for f in found if f.axis == "time"]
    assert "the state of layers.1 falls" in finding.cause


def test_findings_over_time_survive_the_pooling_of_seeds():
    found = findings(run(0.7), run(0.7, seed=1), run(0.7, seed=2))
    (finding,) = [f for f in found if f.axis == "time"]
    assert finding.confidence == 1.0
    assert finding.as_dict()["axis"] == "time"


@pytest.mark.parametrize("model", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("task", ["adding", "copying"])
def test_the_parts_of_a_cause_sum_to_the_whole(model, task):
    """A cell has two ways back, and earlier targets come in: no product, but still a sum."""
    data = {"data": task, "loss": {"adding": "mse", "copying": "cross_entropy"}[task]}
    more = {} if task == "copying" else {"data__length": 60}
    member = settings(
        model=model, **data, **more, data__samples=300, train__steps=1, train__dtype="float64",
        **({"model__forget_bias": 0.0} if model == "lstm" else {}),
    )  # fmt: skip
    (finding,) = [f for f in findings(member) if f.axis == "time"]
    names = ("activation", "weights", "normalisation", "gate", "beside")
    parts = {name: finding.evidence[name] for name in names if name in finding.evidence}
    assert sum(parts.values()) == pytest.approx(finding.evidence["decades"], rel=1e-9)
    assert ("beside" in parts) == (model != "rnn" or task == "copying")
    assert ("gate" in parts) == ("the cell state of layers.0" in finding.cause) == (model != "rnn")


def lstm(forget_bias, gain, **more):
    return settings(
        model="lstm", data="adding", loss="mse", data__length=50, data__samples=300,
        **{"model__forget_bias": forget_bias, "model__init": "orthogonal",
           "model__init_gain": gain, "train__steps": 1, "train__dtype": "float64", **more},
    )  # fmt: skip


def test_an_lstm_is_diagnosed_by_its_cell():
    """With small weights V passes nothing back, and the gate of the cell keeps σ(f) a step."""
    member = lstm(0.0, 1e-3)
    (finding,) = [f for f in findings(member) if f.axis == "time"]
    assert finding.evidence["decades"] == pytest.approx(49 * np.log10(0.5), abs=0.01)
    assert finding.evidence["gate"] == pytest.approx(finding.evidence["decades"], abs=0.01)
    assert "the gate divides the gradient by 2 per time step" in finding.cause
    assert finding.remedies[0] == "model.forget_bias=3.9"  # ln 49
    # h_t gets next to nothing below the last step, by way of V; the cell gets all but 0.4 decades.
    open_ = lstm(3.9, 1e-3)
    _, (sink,) = train(open_)
    frame = pd.DataFrame(sink.layers[0])
    state, cell = (
        frame[frame["axis"] == axis]["act_grad_norm"].to_numpy() for axis in ("time", "cell")
    )
    assert np.log10(state[0] / state[-1]) < -3
    assert np.log10(cell[0] / cell[-1]) == pytest.approx(49 * np.log10(1 - 1 / 50.4), abs=0.01)
    assert not [f for f in findings(open_) if f.axis == "time"]


def test_a_gate_that_is_open_is_not_to_be_opened():
    (finding,) = [f for f in findings(lstm(0.0, 1e-3), lstm(0.0, 1e-3, seed=1)) if f.axis == "time"]
    assert finding.remedies[0] == "model.forget_bias=3.9"
    exploding = lstm(4.0, 10.0)
    assert all("forget_bias" not in r for f in findings(exploding) for r in f.remedies)


def test_time_steps_without_a_gradient_are_reported():
    found = findings(run(1e-50, train__dtype="float32", train__steps=1))  # which float32 has as 0
    (finding,) = [f for f in found if f.axis == "time"]
    assert finding.severity == "severe"
    assert finding.cause == (
        "the gradient of the state of layers.0 is exactly 0 before time step 30, at step 0"
    )


def test_a_signal_that_ends_in_zeros_has_vanished():
    found = findings(run(1e-3, train__dtype="float32"))
    (finding,) = [f for f in found if f.axis == "time"]
    assert finding.severity == "severe"
    assert -50 < finding.evidence["decades"] < -36  # float32 ends near 1e-45
    assert 1 in finding.where
