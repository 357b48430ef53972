"""The page of `gradlab explain`: its numbers equal autograd, and it covers unusual networks."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gradlab.cli.main import main
from gradlab.config.compose import compose
from gradlab.errors import SettingsError
from gradlab.explain.chain_rule_page import chain_rule_page
from gradlab.explain.sample_pass import pass_sample
from gradlab.pages.numbers import percent
from gradlab.pages.page import as_text


@pytest.fixture(autouse=True)
def _work_in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def explain_sample(*overrides):
    settings, options = compose("explain", overrides)
    return pass_sample(settings, settings.data.call(), options)


def test_the_default_sample_is_a_delivery_in_minutes():
    text = " ".join(as_text(chain_rule_page(explain_sample())).split())
    assert "held-out samples of delivery" in text
    assert re.search(
        r"predicts 29\.9 minutes, and the target is 41\.5\. The prediction is 11\.5 too low", text
    )
    for heading in (
        "factor by factor",
        "matrix form",
        "What each layer",
        "Credit",
        "gradient step",
    ):
        assert heading in text


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.activation=sigmoid", "model.depth=10"),
        ("model.activation=relu", "model.depth=4", "model.width=9", "explain.layer=3"),
        ("data=digits", "loss=cross_entropy", "model.width=20", "explain.layer=2"),
        ("data=digits", "loss=focal", "explain.after=5"),
        ("model.depth=0",),
        ("loss=huber", "model.init=normal", "explain.weight=[2,1]"),
    ],
)
def test_the_gradients_by_hand_equal_autograd(overrides):
    explained = explain_sample(*overrides)
    assert explained.gradient == pytest.approx(explained.autograd_gradient, rel=1e-12)
    for by_hand, autograd in zip(explained.sample.grads, explained.autograd, strict=True):
        np.testing.assert_allclose(by_hand.dW, autograd, rtol=1e-10, atol=1e-17)


def test_the_rows_of_the_path_multiply_to_the_gradient():
    explained = explain_sample("model.width=1", "model.activation=tanh")
    (table,) = [
        s.table
        for s in chain_rule_page(explained).sections
        if s.heading == "One weight, factor by factor"
    ]
    values = [float(row[1].removeprefix("× ")) for row in table.rows[:7]]
    assert np.prod(values) == pytest.approx(explained.autograd_gradient, rel=1e-3)


def test_ten_sigmoids_are_compared_with_the_bound_of_their_slopes():
    explained = explain_sample("model.activation=sigmoid", "model.depth=10")
    text = as_text(chain_rule_page(explained))
    assert text.count("sigmoid at z =") == 10
    assert "0.25^10 = 9.54e-07 (-6.02 decades)" in text
    act = [
        np.log10(np.linalg.norm(g.dZ) / np.linalg.norm(g.dA)) for g in explained.sample.grads[:-1]
    ]
    assert f"phi' in this network: {10 ** sum(act):.3g} ({sum(act):+.2f} decades)" in text
    whole = np.linalg.norm(explained.sample.grads[0].dZ) / np.linalg.norm(
        explained.sample.grads[-1].dZ
    )
    assert f"‖dZ_1‖ / ‖dZ_11‖ = {whole:.3g}" in text


def test_a_network_is_explained_after_training():
    before, after = explain_sample(), explain_sample("explain.after=300")
    assert after.sample.value < before.sample.value / 4
    assert after.gradient == pytest.approx(after.autograd_gradient, rel=1e-12)


def test_a_network_without_gradient_is_explained():
    explained = explain_sample("model.init=zeros", "model.activation=relu")
    text = as_text(chain_rule_page(explained))
    assert "exactly 0" in text or "n/a" in text
    assert explained.gradient == 0
    assert torch.isfinite(torch.tensor(explained.sample.value))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("explain.layer=9", "explain.layer=9: expected 1 to 3"),
        ("explain.weight=[1,9]", "expected 0 to 3, there are 4 units in layer 1"),
        ("explain.weight=[1]", "expected .from, to., two whole numbers"),
        ("explain.weight=3", "expected .from, to., or null"),
        ("explain.sample=4000", "expected 0 to 399, there are 400 held-out samples"),
        ("explain.smaple=1", "did you mean explain.sample?"),
        ("model=resmlp", "model=resmlp has no NumPy version"),
        ("model=cnn", "model=cnn has no NumPy version: expected one of mlp"),
        ("model.norm=layer", "model.norm=layer has no NumPy version"),
        ("model.activation=torch.nn.Hardtanh", "has no NumPy version"),
        ("loss=cross_entropy", "cross_entropy is for classification"),
    ],
)
def test_unsupported_settings_raise_a_settings_error(override, words):
    with pytest.raises(SettingsError, match=words):
        explain_sample(override)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.depth=10", "model.activation=sigmoid"),
        ("data=digits", "loss=bce", "model.width=30", "explain.dir=there"),
    ],
)
def test_the_command_prints_and_writes_the_page(overrides, capsys):
    assert main(["explain", *overrides]) == 0
    printed = capsys.readouterr().out
    folder = Path("there" if "explain.dir=there" in overrides else "explain")
    assert f"The same with its figure: {folder}/index.html" in printed
    page = (folder / "index.html").read_text()
    for heading in re.findall(r"^(?:\d\. )?(One weight.*|Credit.*)$", printed, re.MULTILINE):
        assert heading in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert {f.name for f in folder.iterdir()} - {".gradlab-files"} == {
        "index.html",
        "network.png",
        "network.svg",
        "decades.png",
        "decades.svg",
    }


@pytest.mark.parametrize(
    ("share", "text"), [(0.393, "39%"), (0.0123, "1.2%"), (3e-9, "0.0000003%"), (0.0, "0%")]
)
def test_shares_are_percentages_of_few_digits(share, text):
    assert percent(share) == text


def test_a_folder_that_cannot_be_made_is_a_one_line_error(capsys):
    Path("taken").write_text("a file")
    assert main(["explain", "explain.dir=taken"]) == 2
    assert "taken cannot be written" in capsys.readouterr().err
