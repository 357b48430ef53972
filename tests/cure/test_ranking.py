"""Verdicts of trials that were made by hand."""

import math

import pytest

from gradlab.cure.pairs import pairs
from gradlab.cure.ranking import final, rank
from gradlab.cure.remedies import UNCHANGED, Remedy
from gradlab.cure.trial import FAILED, Trial
from tests.configs import settings

SICK, HEALTHY = (("vanishing",), 2), ((), 0)


def trial(remedy, seed, state=HEALTHY, last=1.0, first=2.3, **more):
    kinds, gravity = state
    losses = [first] * 10 + [last] * 10
    return Trial(remedy, seed, kinds, gravity, losses, **more)


def group(name, *states_and_losses):
    remedy = Remedy(tuple(name.split())) if name else UNCHANGED
    return [trial(remedy, i, state, last) for i, (state, last) in enumerate(states_and_losses)]


BASE = group("", (SICK, 2.3), (SICK, 2.31), (SICK, 2.29))
DIVERGED = (("diverged",), 3)


def verdict(*states_and_losses, base=BASE):
    _, (found,) = rank([*base, *group("x=y", *states_and_losses)], UNCHANGED)
    return found.verdict


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([(HEALTHY, 1.0)] * 3, "cures"),
        ([(HEALTHY, 1.0), (HEALTHY, 1.1), (SICK, 2.3)], "cures"),
        ([(HEALTHY, 1.0), (SICK, 1.0), (SICK, 1.0)], "helps"),
        ([(HEALTHY, 2.3)] * 3, "helps"),  # healthy, but it does not learn
        ([(SICK, 1.0)] * 3, "helps"),
        ([(SICK, 2.3)] * 3, "no better"),
        ([(SICK, 2.25)] * 3, "no better"),  # within 5%
        ([(HEALTHY, 5.0)] * 3, "no better"),  # the one at the other's expense
        ([(SICK, 5.0)] * 3, "worse"),
        ([(DIVERGED, 2.0)] * 3, "worse"),
        ([(DIVERGED, 2.0), (HEALTHY, 1.0), (HEALTHY, 1.0)], "cures"),
        ([(SICK, math.nan)] * 3, "worse"),
        ([((("vanishing",), 1), 2.3)] * 3, "no better"),  # less sick, but neither well nor learning
        ([((("vanishing",), 1), 1.0)] * 3, "helps"),
    ],
)
def test_verdicts(trials, expected):
    assert verdict(*trials) == expected


def test_beside_a_run_that_diverged_every_finite_loss_is_lower():
    base = group("", (DIVERGED, 2.0), (DIVERGED, 2.0))
    assert verdict((HEALTHY, 1.0), (HEALTHY, 1.0), base=base) == "cures"
    assert verdict((SICK, 1.0), (SICK, 1.0), base=base) == "helps"
    assert verdict((DIVERGED, 1.0), (DIVERGED, 1.0), base=base) == "no better"


def test_a_run_that_is_healthy_with_other_seeds_cannot_be_cured():
    base = group("", (HEALTHY, 1.0), (HEALTHY, 1.0))
    assert verdict((HEALTHY, 1.0), (HEALTHY, 1.0), base=base) == "no better"


def test_a_loss_within_the_range_of_the_unchanged_seeds_is_the_same():
    base = group("", (SICK, 1.0), (SICK, 2.0), (SICK, 3.0))
    assert verdict(*[(SICK, 1.5)] * 3, base=base) == "no better"
    assert verdict(*[(SICK, 0.5)] * 3, base=base) == "helps"


def test_the_order_is_verdict_then_loss():
    trials = [
        *BASE,
        *group("a=1", (SICK, 5.0), (SICK, 5.0)),
        *group("b=1", (HEALTHY, 1.0), (HEALTHY, 1.0)),
        *group("c=1", (HEALTHY, 0.5), (HEALTHY, 0.5)),
        *group("d=1", (SICK, 0.1), (SICK, 0.1)),
        Trial(Remedy(("e=1",)), 0, ("failed",), FAILED, error="it does not do"),
    ]
    base, ranks = rank(trials, UNCHANGED)
    assert [each.remedy.name for each in ranks] == ["c=1", "b=1", "d=1", "a=1", "e=1"]
    assert ranks[-1].verdict == "failed"
    assert ranks[-1].error == "it does not do"
    assert (base.verdict, base.left, base.healthy) == ("unchanged", {"vanishing": 3}, 0)
    assert base.loss == pytest.approx(2.3)
    assert (base.loss_low, base.loss_high) == pytest.approx((2.29, 2.31))


def test_the_final_loss_is_the_mean_of_the_last_tenth():
    losses = [9.0] * 18 + [1.0, 3.0]
    assert final(Trial(UNCHANGED, 0, losses=losses)) == 2.0
    assert final(Trial(UNCHANGED, 0, ("diverged",), 3, losses)) == math.inf
    assert final(Trial(UNCHANGED, 0, losses=[1.0, math.nan])) == math.inf
    assert final(Trial(UNCHANGED, 0)) == math.inf


def test_pairs_are_of_the_best_of_each_subject():
    trials = [*BASE]
    for loss, name in enumerate(
        ["model.init=a", "model.init=b", "optim=a", "optim.lr=1", "clip=a", "model.norm=a"]
    ):
        trials += group(name, *[(SICK, 1.0 + loss / 100)] * 3)
    trials += group("model=x", *[(SICK, 9.0)] * 3)
    base, ranks = rank(trials, UNCHANGED)
    found = pairs(ranks, base, settings().flat)
    assert all(each.pair for each in found)
    assert [each.overrides for each in found] == [
        ("model.init=a", "optim=a"),
        ("model.init=a", "clip=a"),
        ("model.init=a", "model.norm=a"),
        ("optim=a", "clip=a"),
        ("optim=a", "model.norm=a"),
        ("clip=a", "model.norm=a"),
    ]


def test_a_sickness_that_a_remedy_lays_bare_is_treated_beside_it():
    base = group("", *[((("underflow",), 2), 2.3)] * 3)
    trials = [*base, *group("train.dtype=float32", *[(SICK, 2.2)] * 3)]
    unchanged, ranks = rank(trials, UNCHANGED)
    config = settings(train__dtype="float16", model__activation="sigmoid").flat
    found = pairs(ranks, unchanged, config)
    assert found
    assert all(each.overrides[0] == "train.dtype=float32" for each in found)
    second = [each.overrides[1].split("=")[0] for each in found]
    assert {"model.init", "model.activation", "model.norm"} == {*second}


def test_no_pair_of_a_network_and_a_key_that_it_has_not():
    trials = [*BASE]
    for loss, name in enumerate(
        ["model=lstm", "model.init=orthogonal model.spectral_radius=1", "model.forget_bias=4"]
    ):
        trials += group(name, *[(SICK, 1.0 + loss / 100)] * 3)
    base, ranks = rank(trials, UNCHANGED)
    found = [each.overrides for each in pairs(ranks, base, settings().flat)]
    assert ("model=lstm", "model.forget_bias=4") in found
    assert not [each for each in found if {"model=lstm", "model.spectral_radius=1"} <= {*each}]


def test_no_pairs_of_what_is_worse():
    base, ranks = rank([*BASE, *group("a=1", *[(DIVERGED, 2.0)] * 3)], UNCHANGED)
    assert pairs(ranks, base, settings().flat) == []


def test_a_loss_that_falls_to_what_knowing_nothing_costs_is_no_learning():
    knowing = [trial(Remedy(("a=1",)), i, HEALTHY, 2.3, first=1e9, blind=2.3) for i in range(3)]
    _, (found,) = rank([*group("", *[(DIVERGED, 1.0)] * 3), *knowing], UNCHANGED)
    assert (found.learning, found.verdict) == (0, "helps")
