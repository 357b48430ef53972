"""Gradients by hand = autograd = finite differences, for every activation, loss and shape."""

import numpy as np
import pytest
import torch

from gradlab.gradcheck.gradient_report import Options
from gradlab.gradcheck.hand_written import check_network
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.dense import loss_and_gradients, train
from gradlab.reference.loss_functions import LOSSES, MSE
from tests.configs import settings
from tests.reference.networks import SHAPES, batch, in_torch, layers, numpy_loss, torch_loss

EVERY = Options(samples=None)


def close(a, b, tolerance):
    """Equal relative to the array's largest entry."""
    return np.abs(a - b).max(initial=0) <= tolerance * max(np.abs(b).max(initial=0), 1e-300)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_by_hand_equals_autograd(phi, loss, shape):
    rng = np.random.default_rng(0)
    widths, samples = SHAPES[shape]
    network = layers(widths, phi, rng)
    X, Y = batch(widths, samples, loss, rng)
    value, grads = loss_and_gradients(network, X, Y, numpy_loss(loss))
    model, x = in_torch(network), torch.from_numpy(X).requires_grad_()
    torch_value = torch_loss(loss)(model(x), torch.from_numpy(Y))
    torch_value.backward()
    assert value == pytest.approx(torch_value.item(), rel=1e-12)
    assert close(grads[0].dA_prev, x.grad.numpy(), 1e-12)
    for linear, g in zip(model[::2], grads, strict=True):
        assert close(g.dW, linear.weight.grad.numpy().T, 1e-12)
        assert close(g.db, linear.bias.grad.numpy(), 1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_by_hand_equals_finite_differences(phi, loss):
    rng = np.random.default_rng(1)
    widths, samples = SHAPES["hourglass"]
    X, Y = batch(widths, samples, loss, rng)
    report = check_network(layers(widths, phi, rng), X, Y, numpy_loss(loss), EVERY)
    assert report.passed, str(report)
    for row in report.rows:
        assert row.kinks <= 1
        # Relative to the worst element itself, below what rounding leaves of 1e-7.
        assert row.worst < 5e-6
        assert row.median < 1e-7


def test_the_gradient_of_a_batch_is_the_mean_over_its_samples():
    rng = np.random.default_rng(2)
    network = layers([3, 4, 2], "tanh", rng)
    X, Y = batch([3, 4, 2], 5, "mse", rng)
    _, whole = loss_and_gradients(network, X, Y, MSE())
    alone = [loss_and_gradients(network, X[i : i + 1], Y[i : i + 1], MSE())[1] for i in range(5)]
    for l, g in enumerate(whole):
        np.testing.assert_allclose(g.dW, np.mean([a[l].dW for a in alone], axis=0), rtol=1e-12)


def test_each_training_step_on_deliveries_equals_torchs():
    data = settings(data="delivery", loss="mse").data.call()
    X, Y = data.x_train.numpy(), data.y_train.numpy()
    network = layers([6, 8, 1], "tanh", np.random.default_rng(3), gain=1.0)
    trained, losses = train(network, X, Y, MSE(), lr=0.2, steps=300)
    model = in_torch(network)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    for step in range(300):
        loss = torch.nn.functional.mse_loss(model(data.x_train), data.y_train)
        assert losses[step] == pytest.approx(loss.item(), rel=1e-10)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for layer, linear in zip(trained, model[::2], strict=True):
        np.testing.assert_allclose(layer.W, linear.weight.detach().numpy().T, rtol=0, atol=1e-10)
    assert losses[0] > 0.8
    assert losses[-1] < 0.12  # of a variance of 1; noise alone leaves 0.06
