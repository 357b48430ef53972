"""The atlas agrees with its functions, and the pages in docs/ agree with the atlas."""

from pathlib import Path

import numpy as np
import pytest

from gradlab.cli.main import main
from gradlab.explain.atlas import ATLASES, activations, losses
from gradlab.pages.page import as_markdown
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.loss_functions import LOSSES
from tests.printed import assert_printed

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = {entry.name: entry for entry in (*activations(), *losses())}


def test_every_activation_and_loss_is_included():
    assert [e.name for e in activations()] == list(ACTIVATIONS)
    assert [e.name for e in losses()] == list(LOSSES)
    assert all(e.use and e.pitfall for e in ENTRIES.values())


@pytest.mark.parametrize(
    ("name", "text"),
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
def test_the_maximum_of_the_derivative(name, text):
    assert ENTRIES[name].steepest_text == text


def test_the_intervals_where_the_derivative_is_small_or_zero():
    sigmoid = ENTRIES["sigmoid"]
    edge = sigmoid.saturated[1][0]  # s (1 - s) = 0.0125
    assert 1 / (1 + np.exp(-edge)) == pytest.approx((1 + np.sqrt(0.95)) / 2, abs=1e-4)
    assert ENTRIES["relu"].zero == [(-np.inf, 0.0)]
    assert ENTRIES["leaky_relu"].zero == []
    assert ENTRIES["identity"].saturated == []


@pytest.mark.parametrize("name", ENTRIES)
def test_each_derivative_equals_finite_differences(name):
    entry, x, h = ENTRIES[name], np.array([-3.1, -0.7, 0.4, 2.2]), 1e-6
    numeric = (entry.f(x + h) - entry.f(x - h)) / (2 * h)
    np.testing.assert_allclose(entry.derivative(x), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ATLASES)
def test_the_pages_in_docs_equal_the_atlas(name):
    page, _ = ATLASES[name]()
    shown = (DOCS / name / "index.md").read_text()
    assert_printed(shown, as_markdown(page, {"atlas": "atlas.png"}))
    assert (DOCS / name / "atlas.png").stat().st_size > 20_000


def test_the_command_writes_an_atlas(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "activations"]) == 0
    assert "The same with its figure: explain/activations/index.html" in capsys.readouterr().out
    assert Path("explain/activations/atlas.svg").exists()
    assert main(["explain", "activaton"]) == 2
    assert "did you mean activations?" in capsys.readouterr().err
