"""The order of clearing, backward passes and updates, on hand-made traces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.debugger.rules.update_order import (
    find_discarded_gradients,
    find_uncleared_gradients,
    find_undivided_accumulation,
)
from tests.debugger.traces import trace_of


def kinds(rule, word, **options):
    return [each.kind for each in rule(trace_of(word, **options))]


@pytest.mark.parametrize("word", ["bobobo", "zbobobo", "bbobbobbo", "bcobcobco"])
def test_stale_gradients_are_found(word):
    assert kinds(find_uncleared_gradients, word) == ["no_zero_grad"]


@pytest.mark.parametrize("word", ["zbozbozbo", "bozbozboz", "zbbozbbo", "zbcozbco", "o", "b", ""])
def test_cleared_gradients_are_not_reported(word):
    assert kinds(find_uncleared_gradients, word) == []


def test_a_momentum_by_hand_in_the_gradient_is_correct():
    assert kinds(find_uncleared_gradients, "bodbodbodbo") == []


def test_one_stale_update_of_many_is_no_mistake():
    assert kinds(find_uncleared_gradients, "zbobozbozbo") == []


@given(st.lists(st.sampled_from(["zbo", "zbbo", "zbco", "bzbo", "zbsoz"]), max_size=6))
def test_orders_that_clear_before_the_first_pass_are_correct(cycles):
    assert kinds(find_uncleared_gradients, "z" + "z".join(cycles)) == []


@pytest.mark.parametrize("word", ["bzobzo", "bbzobbzo"])
def test_gradients_cleared_before_the_update_are_found(word):
    assert kinds(find_discarded_gradients, word) == ["zero_grad_too_late"]
    assert kinds(find_discarded_gradients, "bzozbo") == []


@pytest.mark.parametrize("m", [2, 3, 8])
def test_undivided_sums_of_means_are_found(m):
    word = ("z" + m * "b" + "o") * 2
    (found,) = find_undivided_accumulation(trace_of(word))
    assert found.kind == "undivided_accumulation"
    assert f"(loss / {m}).backward()" in found.instead
    assert kinds(find_undivided_accumulation, word, factor=1 / m) == []


def test_a_loss_scale_and_clipping_do_not_change_the_finding():
    assert kinds(find_undivided_accumulation, "zbbuozbbuo", scale=1024.0) == [
        "undivided_accumulation"
    ]
    assert kinds(find_undivided_accumulation, "zbbuozbbuo", scale=1024.0, factor=0.5) == []
    assert kinds(find_undivided_accumulation, "zbbcozbbco") == ["undivided_accumulation"]


def test_infinite_gradients_give_no_finding():
    assert kinds(find_undivided_accumulation, "zbbozbbo", gradient=float("inf")) == []


def test_one_pass_for_each_update_is_correct():
    assert kinds(find_undivided_accumulation, "zbozbo") == []
    assert kinds(find_undivided_accumulation, "zbzbozbzbo") == []
