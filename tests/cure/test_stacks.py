"""Trials in stacks: the same numbers as alone, and none harms another."""

import pytest
import torch
from torch import nn

from gradlab.cure.remedies import Remedy
from gradlab.cure.stacks import group, train
from gradlab.cure.trial import FAILED, Candidate
from tests.configs import settings

SMALL = {"train__steps": 6, "model__depth": 3, "model__width": 8, "record__every": 2}


def member(name, **overrides):
    return Candidate(Remedy((name,)), settings(**SMALL, **overrides))


def never():
    return False


class Picky(nn.Module):
    """An activation that no stack can run: it asks for a number."""

    def forward(self, z):
        return z if float(z.detach().flatten()[0]) > 1e9 else torch.tanh(z)


class Broken(nn.Module):
    def forward(self, z):
        raise RuntimeError("it cannot be\nhelped")


def test_what_differs_in_seed_initialisation_and_clipping_is_one_stack():
    members = [
        member("a=1"),
        member("b=1", model__init="lsuv"),
        member("c=1", model__norm="layer"),
        member("d=1", clip="norm"),
        member("e=1", seed=3),
    ]
    groups = [{each.remedy.name for each in part} for part in group(members)]
    assert groups == [{"a=1", "b=1", "d=1", "e=1"}, {"c=1"}]


def test_a_stack_gives_what_each_gives_alone():
    members = [member("a=1"), member("b=1", model__init="lsuv"), member("d=1", clip="norm", seed=4)]
    together = train(members, never)
    alone = [trial for each in members for trial in train([each], never)]
    for one, other in zip(together, alone, strict=True):
        assert (one.remedy, one.seed, one.kinds) == (other.remedy, other.seed, other.kinds)
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        assert one.decades == pytest.approx(other.decades, abs=1e-3)
        assert one.test_accuracy == pytest.approx(other.test_accuracy, abs=0.01)
        assert len(one.profile) == 4


def test_a_member_that_diverges_is_a_result():
    members = [member("a=1"), member("b=1", model__init="normal", model__init_gain=1e30)]
    well, sick = train(members, never)
    assert well.kinds == ()
    assert sick.kinds[0] == "diverged"
    assert sick.gravity == 3
    assert len(well.losses) == 6


def refuse(model, x, generator):
    raise RuntimeError("not this one\nand not now")


def test_what_cannot_be_built_harms_no_other():
    wrong = member("b=1", model__init=f"{__name__}.refuse")
    trials = train([member("a=1"), wrong, member("c=1", seed=2)], never)
    assert [trial.gravity == FAILED for trial in trials] == [False, True, False]
    assert trials[1].error.endswith("failed: not this one")


def test_what_cannot_be_stacked_is_trained_alone():
    name = f"{__name__}.Picky"
    trials = train([member("a=1", model__activation=name, seed=i) for i in range(2)], never)
    assert [trial.gravity for trial in trials] == [0, 0]
    (broken,) = train([member("b=1", model__activation=f"{__name__}.Broken")], never)
    assert "it cannot be" in broken.error
    assert "\n" not in broken.error


def test_what_is_stopped_is_no_trial():
    assert train([member("a=1"), member("a=1", seed=1)], lambda: True) == []


def test_a_scaled_loss_is_told_in_the_runs_own_scale():
    (plain,) = train([member("a=1")], never)
    scaled = settings(**SMALL, loss__scale=1024.0, optim__lr=0.1 / 1024)
    (lifted,) = train([Candidate(Remedy(("b=1",)), scaled, unit=1024.0)], never)
    assert lifted.losses == pytest.approx(plain.losses, rel=1e-4)
    assert lifted.test_loss == pytest.approx(plain.test_loss, rel=1e-4)
    profiles = [each.profile["delta_norm"].tolist() for each in (lifted, plain)]
    assert profiles[0] == pytest.approx(profiles[1], abs=1e-3)
