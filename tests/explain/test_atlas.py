"""The atlas: what it says of each function is measured from it, and the docs hold the same."""

from pathlib import Path

import numpy as np
import pytest

from gradlab.cli.main import main
from gradlab.explain.atlas import ATLASES, activations, losses
from gradlab.pages.page import as_markdown
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.loss_functions import LOSSES

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = {entry.name: entry for entry in (*activations(), *losses())}


def test_nothing_is_left_out():
    assert [e.name for e in activations()] == list(ACTIVATIONS)
    assert [e.name for e in losses()] == list(LOSSES)
    assert all(e.use and e.pitfall for e in ENTRIES.values())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sigmoid", "0.25 at 0"),
        ("tanh", "1 at 0"),
        ("relu", "1 from 0"),
        ("gelu", "1.129 at 1.41"),
        ("silu", "1.1 at 2.4"),
        ("softplus", "1 towards ∞"),
        ("identity", "1 everywhere"),
        ("mse", "unbounded"),
        ("huber", "1 beyond ±1"),
        ("bce", "1 towards -∞"),
    ],
)
def test_where_it_is_steepest(name, said):
    assert ENTRIES[name].steepest_said == said


def test_where_it_is_flat_and_where_it_is_zero():
    sigmoid = ENTRIES["sigmoid"]
    edge = sigmoid.saturated[1][0]  # s (1 - s) = 0.0125
    assert 1 / (1 + np.exp(-edge)) == pytest.approx((1 + np.sqrt(0.95)) / 2, abs=1e-4)
    assert ENTRIES["relu"].zero == [(-np.inf, 0.0)]
    assert ENTRIES["leaky_relu"].zero == []
    assert ENTRIES["identity"].saturated == []


@pytest.mark.parametrize("name", ENTRIES)
def test_the_curves_are_a_function_and_its_derivative(name):
    entry, x, h = ENTRIES[name], np.array([-3.1, -0.7, 0.4, 2.2]), 1e-6
    numeric = (entry.f(x + h) - entry.f(x - h)) / (2 * h)
    np.testing.assert_allclose(entry.derivative(x), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ATLASES)
def test_the_docs_say_the_same(name):
    story, _ = ATLASES[name]()
    assert (DOCS / name / "index.md").read_text() == as_markdown(story, {"atlas": "atlas.png"})
    assert (DOCS / name / "atlas.png").stat().st_size > 20_000


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "activations"]) == 0
    assert "The same with its figure: explain/activations/index.html" in capsys.readouterr().out
    assert Path("explain/activations/atlas.svg").exists()
    assert main(["explain", "activaton"]) == 2
    assert "did you mean activations?" in capsys.readouterr().err
