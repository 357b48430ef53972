"""The numbers of the experiment, and its theory against an independent simulation."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from gradlab.config.settings import Settings
from tests.configs import settings, train

FILE = Path(__file__).parents[2] / "experiments" / "sigmoid_ten_layers" / "analysis.py"


@pytest.fixture(scope="module")
def analysis():
    spec = importlib.util.spec_from_file_location("analysis", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def members(init: str) -> list[Settings]:
    common = {"model__depth": 10, "model__activation": "sigmoid", "train__steps": 1}
    return [settings(**common, model__init=init, seed=seed) for seed in range(16)]


@pytest.mark.parametrize("init", ["default", "xavier_normal", "kaiming_normal"])
def test_ten_sigmoid_layers_lose_the_predicted_decades(analysis, init):
    _, sinks = train(*members(init))
    logs = np.array([np.log10(sink.layers[0]["delta_norm"]) for sink in sinks])
    lost = (logs[:, 0] - logs[:, -1]).mean()
    activations, weights = analysis.mean_field([64, *[64] * 10, 10], init)
    assert lost == pytest.approx(activations + weights, abs=0.05)
    assert activations < 10 * np.log10(0.25)  # the loss due to phi' exceeds its bound
    assert abs(lost - 10 * np.log10(0.25)) > 0.1  # the bound is not the loss of a network


def test_the_theory_equals_a_simulation_of_wide_random_networks(analysis):
    rng = np.random.default_rng(0)
    widths = [600, 500, 400, 500, 10]
    logs = []
    for _ in range(6):
        weights = [
            rng.normal(0, np.sqrt(2 / n_in), (n_out, n_in))
            for n_in, n_out in itertools.pairwise(widths)
        ]
        a, slopes = rng.normal(size=(50, 600)), []
        for w in weights[:-1]:
            a = 1 / (1 + np.exp(-a @ w.T))
            slopes.append(a * (1 - a))
        delta = rng.normal(size=(50, 10))
        first = np.linalg.norm(delta)
        for w, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
            delta = (delta @ w) * slope
        logs.append(np.log10(np.linalg.norm(delta) / first))
    assert np.mean(logs) == pytest.approx(
        sum(analysis.mean_field(widths, "kaiming_normal")), abs=0.05
    )
