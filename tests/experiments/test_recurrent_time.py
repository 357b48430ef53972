"""The theory of the experiment against its networks, and its table on clipping."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gradlab.theory.recurrent import decades_per_step
from tests.configs import settings, train

FILE = Path(__file__).parents[2] / "experiments" / "recurrent_time" / "analysis.py"
DATA = {"data": "adding", "loss": "mse", "data__length": 50, "data__samples": 600}


@pytest.fixture(scope="module")
def analysis():
    spec = importlib.util.spec_from_file_location("analysis", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def at_start(activation, init, radius):
    """Return the rows over time of four networks at initialisation, a frame each."""
    members = [
        settings(
            model="rnn", **DATA, model__activation=activation, model__init=init,
            model__spectral_radius=radius, train__steps=1, seed=seed,
        )
        for seed in range(4)
    ]  # fmt: skip
    _, sinks = train(*members)
    frames = [pd.DataFrame(sink.layers[0]) for sink in sinks]
    return [frame[frame["axis"] == "time"] for frame in frames]


@pytest.mark.parametrize(
    ("activation", "init", "radius", "near"),
    [
        ("identity", "orthogonal", 0.9, 1e-6),
        ("identity", "orthogonal", 1.5, 1e-6),
        ("tanh", "orthogonal", 0.9, 0.008),
        ("tanh", "orthogonal", 1.5, 0.008),
        ("tanh", "lecun_normal", 1.2, 0.02),
    ],
)
def test_decades_per_step_equal_theory(analysis, activation, init, radius, near):
    frames = at_start(activation, init, radius)
    drive = analysis.drive(50, 600, 0.2, init, 64)
    expected = []
    for steps in frames:
        sigma = steps["weight_norm"].iloc[0] / 8.0
        assert (abs(sigma - radius) < 1e-6) == (init == "orthogonal")
        expected.append(decades_per_step(activation, sigma, drive))
    found = np.mean([analysis.measured(steps) for steps in frames])
    assert found == pytest.approx(np.mean(expected), abs=near)


def test_clipping_prevents_divergence():
    """With clipping, the same networks and seeds stay finite, and no step is longer than 1."""
    members = [
        settings(
            model="rnn", **DATA, model__activation="identity", model__init="orthogonal",
            model__spectral_radius=1.5, optim__lr=0.05, train__steps=40, record__every=20,
            seed=seed, clip=clip,
        )
        for clip in ("none", "norm")
        for seed in (0, 1)
    ]  # fmt: skip
    loop, sinks = train(*members)
    statuses = [outcome.status for outcome in loop.history.outcomes]
    assert statuses == ["diverged", "diverged", "completed", "completed"]
    for sink in sinks[2:]:
        norms, factors = (np.array(sink.steps(name)) for name in ("grad_norm", "clip_factor"))
        assert norms.max() > 10
        assert (norms * factors).max() <= 1 + 1e-5


def test_the_table_on_clipping_counts_diverged_runs(analysis):
    runs = pd.DataFrame(
        {
            "run": ["0", "1", "2", "3"],
            "status": ["diverged", "completed", "completed", "completed"],
            "clip": ["none", "none", "norm", "norm"],
            "model.activation": "tanh",
            "model.spectral_radius": 1.5,
        }
    )
    losses = {"0": [1.0, np.inf], "1": [2.0, 2.0], "2": [0.5, 0.5], "3": [0.7, 0.7]}
    steps = pd.DataFrame([(run, loss) for run, each in losses.items() for loss in each])
    frames = type("Frames", (), {"runs": runs, "steps": steps.set_axis(["run", "loss"], axis=1)})
    (row,) = analysis.rescue(frames).to_dict("records")
    assert row["none: diverged"] == "1 of 2"
    assert row["none: median loss"] == np.inf
    assert row["norm: diverged"] == "0 of 2"
    assert row["norm: median loss"] == pytest.approx(0.6)
