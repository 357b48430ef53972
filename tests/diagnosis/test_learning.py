"""A network that does not learn is not healthy. A network that learns has no finding."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import gradlab
from gradlab.cli.main import main
from gradlab.diagnosis.diagnose import LAYERS
from gradlab.diagnosis.learning import measure_change
from gradlab.results.context import ALONE, attach


@given(st.floats(-3, 3), st.floats(0.01, 10), st.integers(0, 20))
def test_the_unit_of_the_loss_changes_nothing(shift, scale, seed):
    loss = np.random.default_rng(seed).normal(size=100)
    plain, other = measure_change(loss), measure_change(shift + scale * loss)
    assert other.start == pytest.approx(shift + scale * plain.start, abs=1e-9)
    assert other.error == pytest.approx(scale * plain.error)


def test_the_standard_error_is_the_spread_of_the_mean_over_many_losses():
    rng = np.random.default_rng(0)
    found = [measure_change(2 + 0.3 * rng.normal(size=500)) for _ in range(300)]
    errors = np.array([each.error for each in found])
    assert np.std([each.end for each in found]) == pytest.approx(errors.mean(), rel=0.15)


def verdict_of(folder, *overrides):
    """Run `gradlab run`; return the diagnosis of its folder."""
    arguments = ["run", "tracking=none", "model.depth=2", f"hydra.run.dir={folder}", *overrides]
    assert main(arguments) == 0
    return gradlab.diagnose(folder)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("optim.lr=1e-12",), "float32 rounds weight plus update to the weight"),
        (("optim.lr=1e-5",), "learning rate 1e-05 is too small: all 100 updates together"),
        (("clip=norm", "clip.max_norm=1e-4"), "clipping leaves 0.0"),
    ],
)
def test_a_run_that_learns_nothing_is_not_healthy(tmp_path, overrides, reason):
    found = verdict_of(tmp_path / "run", "train.steps=100", *overrides)
    assert found.verdict == "not_learning"
    assert reason in found[0].cause
    better = verdict_of(tmp_path / "better", "train.steps=100", found[0].remedies[0])
    assert better.verdict == "healthy"


@pytest.mark.parametrize(
    ("overrides", "verdict", "learning"),
    [
        (("train.steps=30", "optim.lr=1e-12"), "too_early", "too_early"),
        (("train.steps=60", "optim.lr=1e-12"), "not_learning", "not_learning"),
        (("train.steps=100", "optim.lr=0.02"), "healthy", "learning"),
        (("train.steps=300",), "healthy", "learned"),
        (("train.steps=100", "optim.lr=1e6"), "diverged", "not_learning"),
    ],
)
def test_a_run_says_whether_it_learns(tmp_path, overrides, verdict, learning):
    found = verdict_of(tmp_path, *overrides)
    assert (found.verdict, found.learning) == (verdict, learning)
    assert gradlab.load(tmp_path).runs["learning"].tolist() == [learning]
    assert json.loads((tmp_path / "run.json").read_text())["learning"] == learning


def frame(loss, constant_loss=None):
    """Return rows of one healthy layer with this loss by step."""
    steps = range(len(loss))
    columns = {name: [0.5] * len(loss) for name in LAYERS} | {"update_ratio": 1e-3}
    layers = pd.DataFrame(columns | {"step": steps, "axis": "depth", "position": 1})
    info = {"data": {"constant_loss": constant_loss}}
    return attach(layers, {ALONE: info}, pd.DataFrame({"step": steps, "loss": loss}))


NOISE = 0.05 * np.random.default_rng(0).normal(size=200)


@pytest.mark.parametrize(
    ("loss", "constant_loss", "learning"),
    [
        (np.linspace(2.3, 0.4, 200) + NOISE, 2.3, "learned"),
        (np.linspace(2.3, 1.5, 200) + NOISE, 2.3, "learning"),
        (np.linspace(9.0, 2.9, 200) + NOISE, 2.3, "learning"),  # above chance, but it falls
        (np.full(200, 1.0) + NOISE, 2.3, "learned"),  # a network that was trained before
        (np.full(200, 2.3) + NOISE, 2.3, "not_learning"),
        (np.full(40, 2.3) + NOISE[:40], 2.3, "too_early"),
        (np.linspace(2.3, 0.4, 40) + NOISE[:40], 2.3, "learned"),
        (np.linspace(2.3, 0.4, 9), 2.3, "too_early"),
        (np.linspace(2.3, 0.4, 200) + NOISE, None, "learned"),
        (np.full(200, 2.3) + NOISE, None, None),  # perhaps it cannot fall
        (np.linspace(-1.0, -3.0, 200) + NOISE, None, "learning"),  # a log-density has no zero
    ],
)
def test_the_loss_is_compared_with_a_constant_output(loss, constant_loss, learning):
    assert gradlab.diagnose(frame(loss, constant_loss)).learning == learning


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_not_learning(seed):
    loss = 2.3 + np.random.default_rng(seed).normal(size=100)
    assert gradlab.diagnose(frame(loss, 2.3)).learning == "not_learning"


def watched(rate, start=None, steps=120):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    if start is not None:
        model.load_state_dict(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with gradlab.watch(model, optimizer) as monitor:
        for _ in range(steps):
            x = torch.randn(32, 6)
            optimizer.zero_grad()
            (model(x) - x.sum(1, keepdim=True) - torch.randn(32, 1)).square().mean().backward()
            optimizer.step()
    return monitor, model.state_dict()


def test_a_watched_network_with_a_tiny_rate_does_not_learn():
    monitor, _ = watched(rate=1e-12)
    assert monitor.findings.verdict == "not_learning"
    assert "the loss does not fall" in monitor.findings[0].cause


def test_a_watched_network_that_cannot_improve_is_healthy():
    _, learnt = watched(rate=0.05, steps=600)
    monitor, _ = watched(rate=0.01, start=learnt)
    assert monitor.findings.verdict == "healthy"
