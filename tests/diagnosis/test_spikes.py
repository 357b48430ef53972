"""Spikes of the loss: planted ones are found with step and height; noise and descent have none."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import gradlab
from gradlab.diagnosis.record import LIMITS
from gradlab.diagnosis.spikes import FEWEST, WINDOW, find_spikes, usual_level

SIGMAS = LIMITS["spike"]


def noisy(seed, steps=400, spread=0.1, start=3.0):
    """A loss that falls from `start` to 1 with normal noise."""
    rng = np.random.default_rng(seed)
    return 1 + (start - 1) * np.exp(-np.arange(steps) / 100) + spread * rng.normal(size=steps)


def with_spike(loss, at, height, steps):
    loss = loss.copy()
    loss[at : at + steps] += height
    return loss


def test_the_level_equals_median_and_quartiles_of_each_window():
    values = noisy(0, 300)
    values[[40, 41, 150]] = np.nan, np.inf, 90
    level = usual_level(values)
    for i in range(len(values)):
        window = values[max(i - WINDOW, 0) : i]
        window = window[np.isfinite(window)]
        if len(window) < FEWEST:
            assert np.isnan(level.middle[i])
            continue
        assert level.middle[i] == np.median(window)
        low, high = np.quantile(window, (0.25, 0.75))
        assert level.spread[i] == pytest.approx((high - low) / 1.349)


@pytest.mark.parametrize("at", [60, 200, 380])
def test_a_planted_spike_is_found_at_its_step(at):
    assert find_spikes(with_spike(noisy(1), at, height=4, steps=5), SIGMAS) == [at]


def test_two_spikes_are_two():
    loss = with_spike(with_spike(noisy(2), 100, 5, 6), 300, 5, 4)
    assert find_spikes(loss, SIGMAS) == [100, 300]


def test_noise_and_descent_have_no_spike():
    for seed in range(150):
        assert find_spikes(noisy(seed), SIGMAS) == []


def test_an_outlier_of_one_batch_is_no_spike():
    assert find_spikes(with_spike(noisy(3), 200, 50, steps=1), SIGMAS) == []


def test_a_constant_loss_has_no_spike():
    assert find_spikes(np.full(100, 0.7), SIGMAS) == []
    assert find_spikes(np.full(100, np.nan), SIGMAS) == []
    assert find_spikes(np.array([]), SIGMAS) == []


@given(st.integers(-40, 40), st.integers(0, 20))
def test_the_unit_of_the_loss_changes_nothing(exponent, seed):
    loss = with_spike(noisy(seed), 250, 4, 5)
    assert find_spikes(loss * 2.0**exponent, SIGMAS) == find_spikes(loss, SIGMAS) == [250]


def train(damage, steps=160, every=1):
    """Train a regression; at step 100, `damage` changes the weights of the second layer."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    target = nn.Linear(8, 1)
    with gradlab.watch(model, optimizer, every=every) as monitor:
        for step in range(steps):
            x = torch.randn(32, 8)
            optimizer.zero_grad()
            (model(x) - target(x).detach()).square().mean().backward()
            optimizer.step()
            if step == 99:
                with torch.no_grad():
                    model[4].weight.mul_(damage)
    return monitor


def test_a_damaged_layer_is_a_spike_with_step_height_and_end():
    monitor = train(damage=6.0, steps=250)
    (finding,) = [f for f in monitor.findings if f.kind == "spike"]
    steps = monitor.steps()
    loss = steps["loss"].to_numpy(dtype=float)
    assert finding.since == 100
    assert finding.evidence["peak"] == loss[100:].max()
    assert finding.evidence["level"] == np.median(loss[:100])
    assert finding.severity == "note"
    returned = int(finding.cause.split("returns at step ")[1].split(",")[0])
    assert loss[returned] < loss[100:returned].min()
    assert monitor.findings.verdict == "healthy"


def test_a_loss_that_stays_high_is_the_verdict():
    monitor = train(damage=200.0, steps=106)
    assert monitor.findings.verdict in {"spike", "exploding", "unstable"}
    assert "has not returned by step 105" in str(monitor.findings)


def test_training_without_damage_has_no_spike():
    assert [f.kind for f in train(damage=1.0).findings] == []


def test_the_layer_whose_gradient_rose_first_is_named():
    steps, layers = [], []
    rng = np.random.default_rng(0)
    for step in range(120):
        loss = 1 + 0.1 * rng.normal() + (8 if 100 <= step < 106 else 0)
        steps.append({"step": step, "loss": loss, "grad_norm": loss})
        for position in (1, 2, 3):
            rise = 50 if position == 2 and step >= 98 else loss
            layers.append(
                dict.fromkeys(gradlab.diagnosis.diagnose.LAYERS, 0.5)
                | {"step": step, "axis": "depth", "position": position, "module": f"m{position}"}
                | {"delta_norm": 1.0, "weight_grad_norm": rise}
            )
    (finding,) = [
        f for f in gradlab.diagnose(pd.DataFrame(layers), pd.DataFrame(steps)) if f.kind == "spike"
    ]
    assert finding.where == (2,)
    assert "the gradient of layer 2 rose first" in finding.cause
