"""The rules over time, on recurrent networks whose decades are known by construction."""

import numpy as np
import pandas as pd
import pytest

from gradlab.diagnosis.verdict import diagnose, verdict
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
    [(0.7, "vanishing", "mild"), (1.35, "exploding", "mild"), (0.55, "vanishing", "gross")],
)
def test_a_radius_is_found_with_its_decades(radius, kind, severity):
    found = findings(run(radius))
    (told,) = [f for f in found if f.axis == "time"]
    assert (told.kind, told.since, told.severity) == (kind, 0, severity)
    decades = (T - 1) * np.log10(radius)
    assert told.evidence["decades"] == pytest.approx(decades, rel=1e-6)
    assert told.evidence["weights"] == pytest.approx(decades, rel=1e-6)
    assert told.evidence["activation"] == 0
    assert told.evidence["time"] == 1
    reached = T - 3.0 / abs(np.log10(radius))
    assert told.where == tuple(t for t in range(1, T + 1) if t <= reached)
    assert f"{decades:+.1f} decades from time 30 to time 1 in layers.0, step" in told.cause
    assert f"({np.log10(radius):+.2f} a step)" in told.cause
    assert verdict("completed", found) == kind


@pytest.mark.parametrize("radius", [0.85, 1.0, 1.15])
def test_a_healthy_radius_is_not(radius):
    assert not [f for f in findings(run(radius)) if f.axis == "time"]


def test_the_worst_layer_is_named():
    found = findings(run(0.7, model__depth=2))
    (told,) = [f for f in found if f.axis == "time"]
    assert "in layers.1, step" in told.cause  # layers.0 hears of every step from above


def test_both_axes_are_kept_over_seeds():
    found = findings(run(0.7), run(0.7, seed=1), run(0.7, seed=2))
    (told,) = [f for f in found if f.axis == "time"]
    assert told.confidence == 1.0
    assert told.as_dict()["axis"] == "time"


def test_a_signal_of_zeros_has_vanished_as_far_as_it_reaches():
    found = findings(run(1e-3, train__dtype="float32"))
    (told,) = [f for f in found if f.axis == "time"]
    assert told.severity == "gross"
    assert -50 < told.evidence["decades"] < -36  # float32 ends near 1e-45
    assert 1 in told.where
