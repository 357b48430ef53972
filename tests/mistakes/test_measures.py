"""The measurements, on programs with known results."""

import torch
from torch import nn

from gradlab.mistakes import measures
from gradlab.mistakes.building_blocks import delivery_batches, digits_batches, digits_program, step
from gradlab.mistakes.mistake import Program


def compute_loss(model, optimizer, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def test_batches_are_full_and_standardised():
    for batches, features in ((digits_batches(), 64), (delivery_batches(), 6)):
        assert {tuple(x.shape) for x, _ in batches} == {(64, features)}
        x = torch.cat([x for x, _ in batches])
        assert x.mean(0).abs().max() < 0.1
        assert x.dtype == torch.float32


def test_training_repeats_the_batches_in_order():
    program = digits_program(compute_loss)
    losses = measures.train(program, 2 * len(program.batches))
    assert losses[: len(program.batches)] == losses[len(program.batches) :]
    assert losses[0] != losses[1]
    x, y = program.batches[0]
    assert losses[0] == nn.functional.cross_entropy(program.model(x), y).item()


def test_moved_weights_are_counted():
    assert measures.measure_moved_weights(digits_program(compute_loss)).value == 0
    assert measures.measure_moved_weights(digits_program(step)).value == 100
    half = digits_program(step)
    half.model.get_submodule("0").requires_grad_(False)
    assert measures.measure_moved_weights(half).value == 50


def test_the_accuracy_is_low_without_training_and_high_after_it():
    assert measures.measure_accuracy(digits_program(compute_loss)).value < 30
    assert measures.measure_accuracy(digits_program(step)).value > 90


def test_the_longest_update_of_plain_descent_is_the_learning_rate_times_the_gradient():
    program = digits_program(step, lr=0.5)
    longest = measures.longest_update(program, 1, unit=0.5)
    assert abs(longest / measures.gradient_norm(program.model) - 1) < 1e-4


def test_the_weights_of_a_loss_are_found_in_its_graph():
    x, y = digits_batches()[0]
    model = nn.Sequential(nn.Linear(64, 10))
    loss = nn.functional.cross_entropy(model(x), y)
    assert {id(w) for w in measures.loss_weights(loss)} == {id(w) for w in model.parameters()}
    assert measures.graph_nodes(loss.detach()) == measures.graph_nodes(None) == []


def test_the_slope_is_one_for_a_correct_gradient_and_a_third_for_three_times_the_gradient():
    def step_with_factor_3(model, optimizer, batch):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        (3 * loss).backward()
        optimizer.step()
        return loss

    def value(step):
        program = digits_program(step)
        batches = [(x.double(), y) for x, y in program.batches]
        return measures.measure_slope(
            Program(step, program.model.double(), program.optimizer, batches)
        )

    assert abs(value(step) - 1) < 1e-6
    assert abs(value(step_with_factor_3) - 1 / 3) < 1e-6


def test_finite_weights_are_counted():
    program = digits_program(compute_loss)
    with torch.no_grad():
        program.model.get_parameter("2.bias").fill_(torch.nan)
    size = sum(w.numel() for w in program.model.parameters())
    assert abs(measures.measure_finite_weights(program).value - 100 * (1 - 10 / size)) < 1e-9
