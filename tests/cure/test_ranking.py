"""Verdicts and pairs of remedies, from results that the tests define."""

import math

import pytest

from gradlab.cure.ranking import final_loss, pair_remedies, rank
from gradlab.cure.remedies import UNCHANGED, Remedy
from gradlab.cure.reruns import FAILED, RerunResult
from tests.configs import settings

VANISHING, HEALTHY = (("vanishing",), 2), ((), 0)


def result(remedy, seed, state=HEALTHY, last=1.0, first=2.3, **more):
    kinds, severity = state
    losses = [first] * 10 + [last] * 10
    return RerunResult(remedy, seed, kinds, severity, losses, **more)


def group(name, *states_and_losses):
    remedy = Remedy(tuple(name.split())) if name else UNCHANGED
    return [result(remedy, i, state, last) for i, (state, last) in enumerate(states_and_losses)]


BASE = group("", (VANISHING, 2.3), (VANISHING, 2.31), (VANISHING, 2.29))
DIVERGED = (("diverged",), 3)


def verdict(*states_and_losses, base=BASE):
    _, (found,) = rank([*base, *group("x=y", *states_and_losses)], UNCHANGED)
    return found.verdict


@pytest.mark.parametrize(
    ("reruns", "expected"),
    [
        ([(HEALTHY, 1.0)] * 3, "works"),
        ([(HEALTHY, 1.0), (HEALTHY, 1.1), (VANISHING, 2.3)], "works"),
        ([(HEALTHY, 1.0), (VANISHING, 1.0), (VANISHING, 1.0)], "helps"),
        ([(HEALTHY, 2.3)] * 3, "helps"),  # healthy, but it does not learn
        ([(VANISHING, 1.0)] * 3, "helps"),
        ([(VANISHING, 2.3)] * 3, "no better"),
        ([(VANISHING, 2.25)] * 3, "no better"),  # within 5%
        ([(HEALTHY, 5.0)] * 3, "no better"),  # fewer findings, but a higher loss
        ([(VANISHING, 5.0)] * 3, "worse"),
        ([(DIVERGED, 2.0)] * 3, "worse"),
        ([(DIVERGED, 2.0), (HEALTHY, 1.0), (HEALTHY, 1.0)], "works"),
        ([(VANISHING, math.nan)] * 3, "worse"),
        ([((("vanishing",), 1), 2.3)] * 3, "no better"),  # milder, but neither healthy nor learning
        ([((("vanishing",), 1), 1.0)] * 3, "helps"),
    ],
)
def test_verdicts(reruns, expected):
    assert verdict(*reruns) == expected


def test_every_finite_loss_is_lower_than_the_loss_of_a_diverged_run():
    base = group("", (DIVERGED, 2.0), (DIVERGED, 2.0))
    assert verdict((HEALTHY, 1.0), (HEALTHY, 1.0), base=base) == "works"
    assert verdict((VANISHING, 1.0), (VANISHING, 1.0), base=base) == "helps"
    assert verdict((DIVERGED, 1.0), (DIVERGED, 1.0), base=base) == "no better"


def test_no_remedy_works_on_a_run_whose_reruns_are_healthy():
    base = group("", (HEALTHY, 1.0), (HEALTHY, 1.0))
    assert verdict((HEALTHY, 1.0), (HEALTHY, 1.0), base=base) == "no better"


def test_a_loss_within_the_range_of_the_unchanged_seeds_is_the_same():
    base = group("", (VANISHING, 1.0), (VANISHING, 2.0), (VANISHING, 3.0))
    assert verdict(*[(VANISHING, 1.5)] * 3, base=base) == "no better"
    assert verdict(*[(VANISHING, 0.5)] * 3, base=base) == "helps"


def test_the_order_is_verdict_then_loss():
    results = [
        *BASE,
        *group("a=1", (VANISHING, 5.0), (VANISHING, 5.0)),
        *group("b=1", (HEALTHY, 1.0), (HEALTHY, 1.0)),
        *group("c=1", (HEALTHY, 0.5), (HEALTHY, 0.5)),
        *group("d=1", (VANISHING, 0.1), (VANISHING, 0.1)),
        RerunResult(Remedy(("e=1",)), 0, ("failed",), FAILED, error="not valid"),
    ]
    base, ranks = rank(results, UNCHANGED)
    assert [each.remedy.name for each in ranks] == ["c=1", "b=1", "d=1", "a=1", "e=1"]
    assert ranks[-1].verdict == "failed"
    assert ranks[-1].error == "not valid"
    assert (base.verdict, base.kinds, base.healthy) == ("unchanged", {"vanishing": 3}, 0)
    assert base.loss == pytest.approx(2.3)
    assert (base.losses[0], base.losses[-1]) == pytest.approx((2.29, 2.31))


def test_the_final_loss_is_the_mean_of_the_last_tenth():
    losses = [9.0] * 18 + [1.0, 3.0]
    assert final_loss(RerunResult(UNCHANGED, 0, losses=losses)) == 2.0
    assert final_loss(RerunResult(UNCHANGED, 0, ("diverged",), 3, losses)) == math.inf
    assert final_loss(RerunResult(UNCHANGED, 0, losses=[1.0, math.nan])) == math.inf
    assert final_loss(RerunResult(UNCHANGED, 0)) == math.inf


def test_pairs_combine_the_best_remedies_that_change_different_keys():
    results = [*BASE]
    for loss, name in enumerate(
        ["model.init=a", "model.init=b", "optim=a", "optim.lr=1", "clip=a", "model.norm=a"]
    ):
        results += group(name, *[(VANISHING, 1.0 + loss / 100)] * 3)
    results += group("model=x", *[(VANISHING, 9.0)] * 3)
    base, ranks = rank(results, UNCHANGED)
    found = pair_remedies(ranks, base, settings().flat)
    assert all(each.pair for each in found)
    assert [each.overrides for each in found] == [
        ("model.init=a", "optim=a"),
        ("model.init=a", "clip=a"),
        ("model.init=a", "model.norm=a"),
        ("optim=a", "clip=a"),
        ("optim=a", "model.norm=a"),
        ("clip=a", "model.norm=a"),
    ]


def test_a_remedy_is_paired_with_remedies_for_findings_that_only_it_shows():
    base = group("", *[((("underflow",), 2), 2.3)] * 3)
    results = [*base, *group("train.dtype=float32", *[(VANISHING, 2.2)] * 3)]
    unchanged, ranks = rank(results, UNCHANGED)
    config = settings(train__dtype="float16", model__activation="sigmoid").flat
    found = pair_remedies(ranks, unchanged, config)
    assert found
    assert all(each.overrides[0] == "train.dtype=float32" for each in found)
    second = [each.overrides[1].split("=")[0] for each in found]
    assert {"model.init", "model.activation", "model.norm"} == {*second}


def test_a_network_is_not_paired_with_a_key_that_it_lacks():
    results = [*BASE]
    for loss, name in enumerate(
        ["model=lstm", "model.init=orthogonal model.spectral_radius=1", "model.forget_bias=4"]
    ):
        results += group(name, *[(VANISHING, 1.0 + loss / 100)] * 3)
    base, ranks = rank(results, UNCHANGED)
    found = [each.overrides for each in pair_remedies(ranks, base, settings().flat)]
    assert ("model=lstm", "model.forget_bias=4") in found
    assert not [each for each in found if {"model=lstm", "model.spectral_radius=1"} <= {*each}]


def test_worse_remedies_are_not_paired():
    base, ranks = rank([*BASE, *group("a=1", *[(DIVERGED, 2.0)] * 3)], UNCHANGED)
    assert pair_remedies(ranks, base, settings().flat) == []


def test_a_loss_that_falls_only_to_the_loss_of_zeros_does_not_learn():
    reruns = [result(Remedy(("a=1",)), i, HEALTHY, 2.3, first=1e9, zero_loss=2.3) for i in range(3)]
    _, (found,) = rank([*group("", *[(DIVERGED, 1.0)] * 3), *reruns], UNCHANGED)
    assert (found.learning, found.verdict) == (0, "helps")
