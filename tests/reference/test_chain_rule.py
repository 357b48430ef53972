"""The chain rule factor by factor: products, paths and first-order predictions."""

from itertools import product

import numpy as np
import pytest
import torch

from gradlab.reference import chain_rule
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.loss_functions import LOSSES, MSE
from tests.reference.networks import batch, in_torch, layers, numpy_loss, torch_loss

WIDTHS = [4, 3, 5, 2, 3]


def random_sample(phi="tanh", loss="mse", widths=WIDTHS, seed=0):
    rng = np.random.default_rng(seed)
    network = layers(widths, phi, rng)
    X, Y = batch(widths, 1, loss, rng)
    return chain_rule.compute_passes(network, X, Y, numpy_loss(loss))


def every_path(sample, layer, weight):
    """Yield the part of every path, by visiting all paths."""
    i, j = weight
    a_prev = sample.caches[layer - 1].A_prev[0, i]
    slopes = [
        each.phi.derivative(c.Z)[0] for each, c in zip(sample.layers, sample.caches, strict=True)
    ]
    later = [range(each.W.shape[1]) for each in sample.layers[layer:]]
    for units in product(*later):
        share, unit = a_prev * slopes[layer - 1][j], j
        for m, after in enumerate(units, start=layer):
            share *= sample.layers[m].W[unit, after] * slopes[m][after]
            unit = after
        yield share * sample.grads[-1].dA[0, unit]


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
@pytest.mark.parametrize("phi", ["sigmoid", "relu", "gelu"])
def test_all_paths_sum_to_the_gradient_and_the_strongest_is_the_largest(phi, layer):
    sample = random_sample(phi)
    for weight in ((0, 0), chain_rule.find_largest_gradient(sample, layer)):
        shares = list(every_path(sample, layer, weight))
        assert len(shares) == chain_rule.count_paths(sample, layer)
        gradient = sample.grads[layer - 1].dW[weight]
        assert np.sum(shares) == pytest.approx(gradient, rel=1e-12, abs=1e-16)
        strongest = chain_rule.strongest_path(sample, layer, weight).product
        assert abs(strongest) == pytest.approx(np.abs(shares).max(), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_in_a_chain_of_single_units_the_one_path_is_autograds_gradient(phi, loss):
    sample = random_sample(phi, loss, [2, 1, 1, 1, 2], seed=1)
    model = in_torch(sample.layers)
    output = model(torch.from_numpy(sample.X))
    torch_loss(loss)(output, torch.from_numpy(sample.Y)).backward()
    for layer in (1, 2, 3):
        weight = chain_rule.find_largest_gradient(sample, layer)
        paths = chain_rule.count_paths(sample, layer)
        assert paths == 2  # to the two outputs
        by_hand = sum(every_path(sample, layer, weight))
        autograd = model[2 * layer - 2].weight.grad.numpy().T[weight]
        assert by_hand == pytest.approx(autograd, rel=1e-12, abs=1e-18)


def test_the_factors_have_the_kinds_and_layers_of_the_equation():
    sample = random_sample()
    factors = chain_rule.strongest_path(sample, 2, (1, 4)).factors
    kinds = [factor.kind for factor in factors]
    assert kinds == ["loss", "slope", "weight", "slope", "weight", "slope", "input"]
    assert [factor.layer for factor in factors] == [4, 4, 4, 3, 3, 2, 1]
    assert factors[-1].units == (1,)
    assert factors[-2].units == (4,)


def test_the_decades_sum_to_the_decades_of_the_input_gradient():
    sample = random_sample("sigmoid", widths=[4] * 11)
    act, weights = chain_rule.factor_decades(sample)
    total = np.log10(np.linalg.norm(sample.grads[0].dA_prev) / np.linalg.norm(sample.grads[-1].dA))
    assert act.sum() + weights.sum() == pytest.approx(total, abs=1e-12)
    assert (act[:-1] <= np.log10(0.25)).all()
    assert act[-1] == 0


def test_decades_of_numbers_whose_squares_underflow_and_of_zeros():
    network = layers([2, 2, 2], "identity", np.random.default_rng(0))
    tiny = [type(network[0])(1e-120 * each.W, each.b, each.phi) for each in network]
    act, weights = chain_rule.factor_decades(
        chain_rule.compute_passes(tiny, np.ones((1, 2)), np.ones((1, 2)), MSE())
    )
    assert (np.abs(weights + 120) < 2).all()
    zero = [type(network[0])(0 * each.W, each.b, each.phi) for each in network]
    act, weights = chain_rule.factor_decades(
        chain_rule.compute_passes(zero, np.ones((1, 2)), np.ones((1, 2)), MSE())
    )
    assert weights[1] == -np.inf
    assert np.isnan(act[0])


def test_gradient_shares_sum_to_one():
    sample = random_sample()
    shares = chain_rule.gradient_shares(sample)
    assert sum(share.sum() for share in shares) == pytest.approx(1)
    at = np.unravel_index(shares[0].argmax(), shares[0].shape)
    assert tuple(int(k) for k in at) == chain_rule.find_largest_gradient(sample, 1)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "focal"])
def test_a_small_step_changes_loss_and_output_as_predicted(loss):
    sample = random_sample("tanh", loss)
    for lr, tolerance in ((1e-3, 0.05), (1e-6, 1e-4)):
        step = chain_rule.take_step(sample, lr, output=1)
        assert step.loss_measured == pytest.approx(step.loss_predicted, rel=tolerance)
        assert step.output_measured == pytest.approx(step.output_predicted, rel=tolerance)
        assert step.loss_predicted < 0
