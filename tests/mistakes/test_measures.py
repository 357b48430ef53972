"""The measures, each on practices whose number is known."""

import torch
from torch import nn

from gradlab.mistakes import measures
from gradlab.mistakes.material import deliveries_batches, digits_batches, on_digits, step
from gradlab.mistakes.mistake import Practice


def still(model, optimizer, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def test_batches_are_whole_and_standardised():
    for batches, features in ((digits_batches(), 64), (deliveries_batches(), 6)):
        assert {tuple(x.shape) for x, _ in batches} == {(64, features)}
        x = torch.cat([x for x, _ in batches])
        assert x.mean(0).abs().max() < 0.1
        assert x.dtype == torch.float32


def test_losses_come_in_order_over_and_over():
    practice = on_digits(still)
    losses = measures.train(practice, 2 * len(practice.batches))
    assert losses[: len(practice.batches)] == losses[len(practice.batches) :]
    assert losses[0] != losses[1]
    x, y = practice.batches[0]
    assert losses[0] == nn.functional.cross_entropy(practice.model(x), y).item()


def test_weights_that_do_not_move_are_told():
    assert measures.moved(on_digits(still)).value == 0
    assert measures.moved(on_digits(step)).value == 100
    half = on_digits(step)
    half.model.get_submodule("0").requires_grad_(False)
    assert measures.moved(half).value == 50


def test_an_untrained_network_reads_one_digit_in_ten_and_a_trained_one_most():
    assert measures.accuracy(on_digits(still)).value < 30
    assert measures.accuracy(on_digits(step)).value > 90


def test_the_longest_update_of_plain_descent_is_the_learning_rate_times_the_gradient():
    practice = on_digits(step, lr=0.5)
    longest = measures.longest_update(practice, 1, unit=0.5)
    assert abs(longest / measures.grad_norm(practice.model) - 1) < 1e-4


def test_the_graph_is_walked_to_the_weights():
    x, y = digits_batches()[0]
    model = nn.Sequential(nn.Linear(64, 10))
    loss = nn.functional.cross_entropy(model(x), y)
    assert {id(w) for w in measures.leaves(loss)} == {id(w) for w in model.parameters()}
    assert measures.graph(loss.detach()) == measures.graph(None) == []


def test_the_slope_is_one_for_a_right_gradient_and_a_third_for_three_times_it():
    def thrice(model, optimizer, batch):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        (3 * loss).backward()
        optimizer.step()
        return loss

    def value(step):
        practice = on_digits(step)
        batches = [(x.double(), y) for x, y in practice.batches]
        return measures.slope(Practice(step, practice.model.double(), practice.optimizer, batches))

    assert abs(value(step) - 1) < 1e-6
    assert abs(value(thrice) - 1 / 3) < 1e-6


def test_infinite_weights_are_counted():
    practice = on_digits(still)
    with torch.no_grad():
        practice.model.get_parameter("2.bias").fill_(torch.nan)
    size = sum(w.numel() for w in practice.model.parameters())
    assert abs(measures.finite(practice).value - 100 * (1 - 10 / size)) < 1e-9
