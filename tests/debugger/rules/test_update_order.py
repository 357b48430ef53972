"""Orders of clearing, backward passes and updates, on traces made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.debugger.rules.update_order import accumulation, no_zero_grad, zero_grad_too_late
from tests.debugger.traces import trace_of


def kinds(rule, word, **how):
    return [each.kind for each in rule(trace_of(word, **how))]


@pytest.mark.parametrize("word", ["bobobo", "zbobobo", "bbobbobbo", "bcobcobco"])
def test_stale_gradients_are_found(word):
    assert kinds(no_zero_grad, word) == ["no_zero_grad"]


@pytest.mark.parametrize("word", ["zbozbozbo", "bozbozboz", "zbbozbbo", "zbcozbco", "o", "b", ""])
def test_cleared_gradients_are_not(word):
    assert kinds(no_zero_grad, word) == []


def test_a_momentum_by_hand_in_the_gradient_is_correct():
    assert kinds(no_zero_grad, "bodbodbodbo") == []


def test_one_stale_update_of_many_is_no_mistake():
    assert kinds(no_zero_grad, "zbobozbozbo") == []


@given(st.lists(st.sampled_from(["zbo", "zbbo", "zbco", "bzbo", "zbsoz"]), max_size=6))
def test_orders_that_clear_before_the_first_pass_are_correct(cycles):
    assert kinds(no_zero_grad, "z" + "z".join(cycles)) == []


@pytest.mark.parametrize("word", ["bzobzo", "bbzobbzo"])
def test_gradients_cleared_before_they_are_used(word):
    assert kinds(zero_grad_too_late, word) == ["zero_grad_too_late"]
    assert kinds(zero_grad_too_late, "bzozbo") == []


@pytest.mark.parametrize("m", [2, 3, 8])
def test_sums_of_means(m):
    word = ("z" + m * "b" + "o") * 2
    (found,) = accumulation(trace_of(word))
    assert found.kind == "undivided_accumulation"
    assert f"(loss / {m}).backward()" in found.instead
    assert kinds(accumulation, word, factor=1 / m) == []


def test_a_loss_scale_and_clipping_change_nothing():
    assert kinds(accumulation, "zbbuozbbuo", scale=1024.0) == ["undivided_accumulation"]
    assert kinds(accumulation, "zbbuozbbuo", scale=1024.0, factor=0.5) == []
    assert kinds(accumulation, "zbbcozbbco") == ["undivided_accumulation"]


def test_infinite_gradients_give_no_finding():
    assert kinds(accumulation, "zbbozbbo", gradient=float("inf")) == []


def test_one_pass_for_each_update_is_no_accumulation():
    assert kinds(accumulation, "zbozbo") == []
    assert kinds(accumulation, "zbzbozbzbo") == []
