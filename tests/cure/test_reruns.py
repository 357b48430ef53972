"""Reruns in stacks: equal to separate reruns, and independent of each other's failures."""

import pytest
import torch
from torch import nn

from gradlab.cure.remedies import Remedy
from gradlab.cure.reruns import FAILED, Candidate, group_by_stack, train
from tests.configs import settings

SMALL = {"train__steps": 6, "model__depth": 3, "model__width": 8, "record__every": 2}


def candidate(name, **overrides):
    return Candidate(Remedy((name,)), settings(**SMALL, **overrides))


def never():
    return False


class Branching(nn.Module):
    """An activation that branches on a value, which vmap does not allow."""

    def forward(self, z):
        return z if float(z.detach().flatten()[0]) > 1e9 else torch.tanh(z)


class Broken(nn.Module):
    def forward(self, z):
        raise RuntimeError("first line\nsecond line")


def test_seed_initialisation_and_clipping_may_differ_in_a_stack():
    candidates = [
        candidate("a=1"),
        candidate("b=1", model__init="lsuv"),
        candidate("c=1", model__norm="layer"),
        candidate("d=1", clip="norm"),
        candidate("e=1", seed=3),
    ]
    groups = [{each.remedy.name for each in part} for part in group_by_stack(candidates)]
    assert groups == [{"a=1", "b=1", "d=1", "e=1"}, {"c=1"}]


def test_a_stack_gives_the_same_results_as_separate_reruns():
    candidates = [
        candidate("a=1"),
        candidate("b=1", model__init="lsuv"),
        candidate("d=1", clip="norm", seed=4),
    ]
    together = train(candidates, never)
    alone = [result for each in candidates for result in train([each], never)]
    for one, other in zip(together, alone, strict=True):
        assert (one.remedy, one.seed, one.kinds) == (other.remedy, other.seed, other.kinds)
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        assert one.decades == pytest.approx(other.decades, abs=1e-3)
        assert one.test["accuracy"] == pytest.approx(other.test["accuracy"], abs=0.01)
        assert len(one.profile) == 4


def test_a_member_that_diverges_is_a_result():
    candidates = [candidate("a=1"), candidate("b=1", model__init="normal", model__init_gain=1e30)]
    healthy, diverged = train(candidates, never)
    assert healthy.kinds == ()
    assert diverged.kinds[0] == "diverged"
    assert diverged.severity == 3
    assert len(healthy.losses) == 6


def refuse(model, x, generator):
    raise RuntimeError("not this one\nand not now")


def test_a_network_that_cannot_be_built_does_not_affect_the_others():
    invalid = candidate("b=1", model__init=f"{__name__}.refuse")
    results = train([candidate("a=1"), invalid, candidate("c=1", seed=2)], never)
    assert [result.severity == FAILED for result in results] == [False, True, False]
    assert results[1].error.endswith("failed: not this one")


def test_code_that_vmap_rejects_is_trained_alone():
    name = f"{__name__}.Branching"
    results = train([candidate("a=1", model__activation=name, seed=i) for i in range(2)], never)
    assert [result.severity for result in results] == [0, 0]
    (broken,) = train([candidate("b=1", model__activation=f"{__name__}.Broken")], never)
    assert "first line" in broken.error
    assert "\n" not in broken.error


def test_a_stopped_rerun_has_no_result():
    assert train([candidate("a=1"), candidate("a=1", seed=1)], lambda: True) == []


def test_the_losses_of_a_scaled_rerun_have_the_scale_of_the_run():
    (plain,) = train([candidate("a=1")], never)
    scaled_settings = settings(**SMALL, loss__scale=1024.0, optim__lr=0.1 / 1024)
    (scaled,) = train([Candidate(Remedy(("b=1",)), scaled_settings, unit=1024.0)], never)
    assert scaled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert scaled.test["loss"] == pytest.approx(plain.test["loss"], rel=1e-4)
    profiles = [each.profile["delta_norm"].tolist() for each in (scaled, plain)]
    assert profiles[0] == pytest.approx(profiles[1], abs=1e-3)
