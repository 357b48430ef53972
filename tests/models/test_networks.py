"""Networks, activations and losses against their equations."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from gradlab.errors import SettingsError
from gradlab.models import losses
from gradlab.models.feedforward import MLP, ResMLP
from gradlab.models.network import build
from tests.configs import settings


def by_hand(model, x, position, scale=None):
    """Compute the forward pass in NumPy: tanh, layer normalisation."""
    h = x.numpy()
    for index, layer in enumerate(model.layers):
        w, b = (p.detach().numpy() for p in (layer.linear.weight, layer.linear.bias))
        z = h @ w.T + b
        if layer.activation is None:
            return z
        u = standardised(z) if position == "before" else z
        a = np.tanh(u)
        out = standardised(a) if position == "after" else a
        h = out if scale is None or index == 0 else h + scale * out
    raise AssertionError("no output layer")


def standardised(z):
    return (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("position", ["before", "after", "none"])
def test_forward_passes_equal_their_equations(position):
    x = torch.randn(6, 5, dtype=torch.float64)
    norm = None if position == "none" else nn.LayerNorm
    chain = MLP([5, 7, 3, 4, 2], nn.Tanh, norm, position).double()
    np.testing.assert_allclose(chain(x).detach(), by_hand(chain, x, position), rtol=1e-12)
    residual = ResMLP([5, 7, 7, 7, 2], nn.Tanh, norm, position, branch_scale=0.3).double()
    expected = by_hand(residual, x, position, scale=0.3)
    np.testing.assert_allclose(residual(x).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("norm", [None, nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("kind", [MLP, ResMLP])
def test_stacked_networks_equal_separate_ones(kind, norm):
    models = [kind([5, 8, 8, 3], nn.GELU, norm).double() for _ in range(4)]
    x = torch.randn(4, 6, 5, dtype=torch.float64)
    params, buffers = stack_module_state(models)
    stacked = vmap(lambda p, b, h: functional_call(models[0], (p, b), (h,)))(params, buffers, x)
    for index, model in enumerate(models):
        torch.testing.assert_close(stacked[index], model(x[index]), rtol=1e-12, atol=1e-14)


def test_depth_zero_is_one_linear_map():
    model = build(settings(model__depth=0).model, 7, 3)
    assert [tuple(p.shape) for p in model.parameters()] == [(3, 7), (3,)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torch.nn.PReLU", "without parameters, but PReLU has some"),
        ("torch.nn.Softmax2d", "expected an elementwise torch module: "),
        ("torch.nn.LogSigmoid", None),
        ("torch.nn.GLU", "an output depends on more than one input|expected an elementwise"),
        ("torch.nn.Linear", "missing 2 required"),
        ("torch.relu", "expected an elementwise torch module: "),
        ("os.getcwd", "but it makes a str"),
        ("tests.models.test_networks.RowSoftmax", "depends on more than one input"),
    ],
)
def test_an_activation_must_be_elementwise(name, words):
    model = settings(model__activation=name).model
    if words is None:
        build(model, 7, 3)
        return
    with pytest.raises(SettingsError, match=words):
        build(model, 7, 3)


class RowSoftmax(nn.Softmax):
    def __init__(self):
        super().__init__(dim=-1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.bce])
def test_losses_are_stable_for_large_logits(loss, dtype):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype, requires_grad=True)
    loss(logits, torch.tensor([0, 0])).backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[0].abs() < 1e-6).all()
    assert (logits.grad[1].abs() > 1e-2).all()
