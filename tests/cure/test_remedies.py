"""Proposed remedies: by kind of finding, valid, and different from the run's settings."""

import pytest

from gradlab.config import choices
from gradlab.cure.remedies import Remedy, propose
from gradlab.diagnosis.finding import Finding
from tests.configs import settings


def finding(kind, *remedies, severity="severe"):
    return Finding(kind, (1,), 0, severity, "made up", {}, remedies)


def proposed(*kinds, diverged=False, **overrides):
    found = [finding(kind) for kind in kinds]
    return [each.name for each in propose(found, diverged, settings(**overrides).flat)]


def test_each_remedy_has_a_reason_and_is_a_valid_configuration():
    for kind in ("vanishing", "exploding", "dead", "saturated", "symmetric", "unstable"):
        for remedy in propose([finding(kind)], False, settings().flat):
            assert remedy.reason
            group = remedy.overrides[0].split("=")[0].replace(".", "/")
            assert remedy.overrides[0].split("=")[1] in (choices.names(group) or remedy.name)


def test_remedies_for_vanishing_differ_from_the_settings_of_the_run():
    found = proposed("vanishing", model__activation="sigmoid", model__init="xavier_normal")
    assert {"model.init=kaiming_normal", "model.norm=layer", "model=resmlp", "optim=adam"} <= {
        *found
    }
    assert "model.activation=relu" in found
    assert "model.init=xavier_normal" not in found


def test_critical_is_proposed_only_if_it_exists():
    exists = "critical" in choices.names("model/init")
    assert ("model.init=critical" in proposed("vanishing")) == exists


@pytest.mark.parametrize(
    ("kind", "overrides", "expected", "unexpected"),
    [
        ("vanishing", {"model": "resmlp"}, "model.norm=rms", "model=resmlp"),
        ("vanishing", {"optim": "adam"}, "model.norm=rms", "optim=adam"),
        ("vanishing", {"model": "cnn"}, "model=resmlp", "model=lstm"),
        ("vanishing", {"model": "rnn"}, "model=lstm", "model=resmlp"),
        ("vanishing", {"model": "cnn"}, "model.init=critical", "model.init=default"),
        ("vanishing", {"model": "lstm"}, "model.init=orthogonal", "model.init=critical"),
        ("exploding", {"model": "rnn"}, "model.init=orthogonal", "model.init=critical"),
        ("saturated", {"model": "transformer"}, "optim.lr=0.01", "model.init=critical"),
        ("vanishing", {"train__batch_size": 1}, "model.norm=layer", "model.norm=batch"),
        ("exploding", {"clip": "norm"}, "clip=layer", "clip=norm"),
        ("exploding", {}, "optim.lr=0.01", "model.branch_scale=0.447"),
        ("exploding", {"model": "resmlp"}, "model.branch_scale=0.447", "model.norm=none"),
        ("exploding", {"model__norm": "batch"}, "model.norm=none", "model.norm=batch"),
        ("unstable", {"optim__lr": 50.0}, "optim.lr=5", "optim.lr=50"),
        ("dead", {}, "model.activation=leaky_relu", "model.activation=relu"),
        ("underflow", {"train__dtype": "float16"}, "train.dtype=bfloat16", "train.dtype=float16"),
        ("underflow", {"train__dtype": "float32"}, "train.dtype=float64", "train.dtype=bfloat16"),
        ("underflow", {}, "loss.scale=1048576 optim.lr=9.536743164e-08", "loss.scale=1048576"),
        (
            "underflow",
            {"train__dtype": "float16"},
            "loss.scale=1024 optim.lr=9.765625e-05",
            "loss.scale=1024",
        ),
        ("underflow", {"loss__scale": 1e-4}, "loss.scale=1", "loss.scale=1024"),
        ("underflow", {"optim": "adam"}, "loss.scale=1048576", "loss.scale=1"),
        ("overflow", {"train__dtype": "float16"}, "train.dtype=bfloat16", "train.dtype=float64"),
        ("overflow", {"train__dtype": "float32"}, "clip=norm", "train.dtype=float64"),
        ("below_eps", {"optim": "adam"}, "optim.eps=1e-12", "optim.eps=1e-08"),
        ("below_eps", {}, "loss.scale=1048576 optim.lr=9.536743164e-08", "optim.eps=1e-12"),
        ("clipping", {"clip": "norm"}, "clip.max_norm=10", "clip.max_value=10"),
        ("symmetric", {"model__init": "zeros"}, "model.init=default", "model.init=zeros"),
    ],
)
def test_by_kind(kind, overrides, expected, unexpected):
    names = proposed(kind, **overrides)
    assert expected in names
    assert unexpected not in names


def test_a_diverged_run_has_remedies_without_a_finding():
    assert "clip=norm" in proposed(diverged=True)
    assert not proposed()


def test_remedies_of_the_findings_come_first_and_each_once():
    exploding = finding("exploding", "clip=value", "optim.lr=0.01", "optim.lr=5", "loss.scale=1")
    found = [each.name for each in propose([exploding, finding("dead")], True, settings().flat)]
    assert found[:2] == ["clip=value", "optim.lr=0.01"]
    assert len(found) == len(set(found))
    assert not {"optim.lr=5", "loss.scale=1"} & {*found}


def test_an_initialisation_resets_the_gain():
    found = proposed("vanishing", model__init="normal", model__init_gain=3.0)
    assert "model.init=lsuv model.init_gain=null" in found


def test_an_optimiser_resets_the_learning_rate():
    assert "optim=adam" in proposed("vanishing")
    assert "optim=adam optim.lr=0.001" in proposed("vanishing", optim__lr=50.0)


def test_a_remedy_lists_the_keys_that_it_changes():
    assert Remedy(("optim=adam", "optim.lr=0.1", "model.init=lsuv")).changed == {
        "optim",
        "model.init",
    }
    assert Remedy(()).name == "unchanged"
