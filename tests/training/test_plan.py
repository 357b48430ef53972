"""The plan decides which jobs share a stack, and divides stacks among workers."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.training.plan import LEAST, estimate_cost, estimate_duration, plan_stacks
from tests.configs import settings


def test_jobs_that_differ_only_in_seed_and_clipping_share_a_stack():
    same = [settings(seed=s, clip=c) for s in (0, 1, 2) for c in ("none", "norm")]
    assert plan_stacks(same) == [[0, 2, 4, 1, 3, 5]]
    assert plan_stacks(same[:3]) == [[0], [1], [2]]
    other = [settings(model__depth=3, seed=s) for s in range(4)]
    assert plan_stacks([None, *same, None, *other]) == [[1, 3, 5, 2, 4, 6], [8, 9, 10, 11]]
    many = plan_stacks([settings(seed=s) for s in range(100)])
    assert sorted(itertools.chain(*many)) == list(range(100))
    assert {len(part) for part in many} == {50}
    wide = [settings(model__width=512, seed=s) for s in range(8)]
    assert plan_stacks(wide) == [[k] for k in range(8)]
    steps = [settings(model="rnn", model__spectral_radius=0.5 + s / 9, seed=s) for s in range(40)]
    assert [len(part) for part in plan_stacks(steps)] == [
        13,
        13,
        14,
    ]  # 64 would need too much memory
    lbfgs = [settings(seed=s, optim="sgd") for s in range(4)]
    lbfgs = [replace(s, optim=replace(s.optim, target="torch.optim.LBFGS")) for s in lbfgs]
    assert len(plan_stacks(lbfgs)) == 4


def test_one_group_is_cut_so_that_every_worker_has_a_stack():
    seeds = [settings(seed=s) for s in range(16)]
    assert [len(part) for part in plan_stacks(seeds, 2)] == [8, 8]
    assert [len(part) for part in plan_stacks(seeds[:6], 2)] == [6]  # too few to cut


def test_workers_begin_with_the_most_expensive_stack():
    jobs = [settings(model__depth=d, seed=s) for d in (1, 9, 3) for s in range(8)]
    costs = [estimate_cost(jobs, part) for part in plan_stacks(jobs, 2)]
    assert costs == sorted(costs, reverse=True)
    assert estimate_duration(costs, 2) < 0.6 * sum(costs)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=40), st.integers(1, 4))
def test_every_job_is_in_one_stack_for_any_number_of_workers(drawn, workers):
    jobs = [settings(model__depth=depth, seed=seed) for depth, seed in drawn]
    parts = plan_stacks(jobs, workers)
    assert sorted(itertools.chain(*parts)) == list(range(len(jobs)))
    for part in parts:
        assert len(part) == 1 or len(part) >= LEAST
        assert len({jobs[k].model.depth for k in part}) == 1


@pytest.mark.parametrize(
    ("costs", "workers", "longest"), [([3, 3, 2, 2, 2], 2, 7), ([5], 3, 5), ([], 2, 0)]
)
def test_the_duration_of_a_plan_is_the_time_of_the_slowest_worker(costs, workers, longest):
    assert estimate_duration(costs, workers) == longest
