"""Every initialisation has the exact variances of its definition."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.config import choices
from gradlab.config.choices import pick
from gradlab.models.feedforward import MLP, Layer
from gradlab.models.init import variance_scaling

VARIANCE = {
    "default": lambda i, o: 1 / (3 * i),
    "xavier_normal": lambda i, o: 2 / (i + o),
    "xavier_uniform": lambda i, o: 2 / (i + o),
    "kaiming_normal": lambda i, o: 2 / i,
    "kaiming_uniform": lambda i, o: 2 / i,
    "lecun_normal": lambda i, o: 1 / i,
    "lecun_uniform": lambda i, o: 1 / i,
    "orthogonal": lambda i, o: 1 / max(i, o),
    "normal": lambda i, o: 1.0,
    "zeros": lambda i, o: 0.0,
}
SHAPES = [(64, 64), (30, 120), (120, 30)]


def network(*widths, norm=None, dtype=torch.float64):
    return MLP(widths, nn.ReLU, norm).to(dtype)


def fill(name, model, seed=0, x=None, **kwargs):
    x = torch.randn(128, model.layers[0].linear.in_features) if x is None else x
    first = next(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    pick("model/init", name).call(model, x.to(first.dtype), generator, **kwargs)
    return model


def test_every_initialisation_has_a_variance_or_a_separate_test():
    assert set(choices.names("model/init")) == {*VARIANCE, "lsuv", "critical"}


@pytest.mark.parametrize("name", VARIANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_variance_over_all_linear_maps(name, shape):
    n_in, n_out = shape
    weights = [
        layer.linear.weight.detach()
        for seed in range(20)
        for layer in fill(name, network(n_in, n_out, n_in), seed).layers
    ]
    for rows, columns in ((n_out, n_in), (n_in, n_out)):
        drawn = torch.cat([w.flatten() for w in weights if w.shape == (rows, columns)])
        expected = VARIANCE[name](columns, rows)
        # The sampling error of a variance is sqrt(2/n), for a normal distribution.
        tolerance = 5 * math.sqrt(2 / len(drawn)) * expected
        assert float(drawn.square().mean()) == pytest.approx(expected, abs=tolerance)
        assert abs(float(drawn.mean())) <= 5 * math.sqrt(expected / len(drawn))


@pytest.mark.parametrize("name", [n for n in VARIANCE if "uniform" in n or n == "default"])
def test_uniform_weights_fill_their_interval(name):
    weight = fill(name, network(50, 80, 10)).layers[0].linear.weight.detach()
    bound = math.sqrt(3 * VARIANCE[name](50, 80))
    assert 0.99 * bound < float(weight.abs().max()) <= bound


def test_default_equals_torchs_initialisation():
    ours = [fill("default", network(40, 40, 40), seed).layers[0].linear for seed in range(30)]
    theirs = [nn.Linear(40, 40, dtype=torch.float64) for _ in range(30)]
    for part in ("weight", "bias"):
        drawn = [
            torch.cat([getattr(m, part).detach().flatten() for m in ms]) for ms in (ours, theirs)
        ]
        a, b = (np.sort(d.numpy()) for d in drawn)
        grid = np.linspace(-0.2, 0.2, 401)
        gap = np.abs(np.searchsorted(a, grid) - np.searchsorted(b, grid)).max() / len(a)
        assert gap < 1.95 * math.sqrt(2 / len(a))  # Kolmogorov-Smirnov at the level of 0.1%
        assert float(drawn[0].abs().max()) <= 1 / math.sqrt(40)


@pytest.mark.parametrize("name", [n for n in [*VARIANCE, "lsuv"] if n != "default"])
def test_biases_are_zero(name):
    for layer in fill(name, network(9, 8, 7)).layers:
        assert not layer.linear.bias.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_weights_are_orthogonal(shape):
    weight = fill("orthogonal", network(*shape, 5), gain=3.0).layers[0].linear.weight.detach()
    gram = weight @ weight.T if shape[1] <= shape[0] else weight.T @ weight
    torch.testing.assert_close(gram, 9 * torch.eye(len(gram), dtype=torch.float64))


def test_orthogonal_weights_have_random_signs():
    # Without the correction of QR's signs, the diagonal of Q is of one sign.
    corners = [
        float(fill("orthogonal", network(6, 6, 2), seed).layers[0].linear.weight.detach()[0, 0])
        for seed in range(200)
    ]
    assert 60 < sum(corner > 0 for corner in corners) < 140


@pytest.mark.parametrize(
    "name", ["xavier_normal", "kaiming_uniform", "default", "orthogonal", "critical"]
)
def test_a_seed_gives_the_same_weights_in_every_dtype(name):
    exact = fill(name, network(12, 9, 4), seed=7)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        cast = fill(name, network(12, 9, 4, dtype=dtype), seed=7)
        for a, b in zip(exact.parameters(), cast.parameters(), strict=True):
            assert torch.equal(a.to(dtype), b)
    other = fill(name, network(12, 9, 4), seed=8)
    assert not torch.equal(other.layers[0].linear.weight, exact.layers[0].linear.weight)


@pytest.mark.parametrize("name", ["default", "xavier_uniform", "orthogonal", "normal", "lsuv"])
def test_the_gain_multiplies_the_weights(name):
    x = torch.randn(64, 12)
    one, three = (fill(name, network(12, 9, 4), x=x, gain=g).layers for g in (1.0, 3.0))
    ratio = three[0].linear.weight / one[0].linear.weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3.0))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("norm", [None, nn.LayerNorm, nn.BatchNorm1d])
def test_lsuv_gives_every_layer_unit_variance(activation, norm):
    model = MLP([16, *[32] * 20, 10], activation, norm).double()
    x = torch.randn(256, 16, dtype=torch.float64)
    fill("lsuv", model, x=x)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    seen = []
    for layer in model.layers:
        layer.linear.register_forward_hook(lambda m, i, z: seen.append(z.detach()))
    model(x)
    for z in seen:
        assert float(z.std(correction=0)) == pytest.approx(1.0, rel=1e-9)
    fresh = MLP([16, *[32] * 20, 10], activation, norm).double()
    assert buffers.keys() == dict(fresh.named_buffers()).keys()
    for name, value in fresh.named_buffers():
        assert torch.equal(buffers[name], value)


@pytest.mark.parametrize(
    ("activation", "variance", "bias"),
    [(nn.ReLU, 2.0, 0.0), (nn.Tanh, 1.0, 0.0), (nn.GELU, 1.98305826, 0.17292239)],
)
def test_critical_variances(activation, variance, bias):
    models = [
        fill("critical", MLP([64, 64, 64, 64], activation).double(), seed) for seed in range(20)
    ]
    hidden = torch.cat([m.layers[1].linear.weight.detach().flatten() for m in models])
    assert float(hidden.square().mean()) == pytest.approx(variance / 64, rel=0.03)
    biases = torch.cat([m.layers[1].linear.bias.detach() for m in models])
    assert float(biases.square().mean()) == pytest.approx(bias, rel=0.2)
    out = torch.cat([m.layers[-1].linear.weight.detach().flatten() for m in models])
    assert float(out.square().mean()) == pytest.approx(1 / 64, rel=0.03)
    assert not any(m.layers[-1].linear.bias.any() for m in models)


def test_critical_supports_chains_of_layers():
    fill("critical", MLP([5, 3], nn.ReLU).double())  # no hidden layer, so no activation
    fill("critical", network(5, 6, 3, norm=nn.LayerNorm))
    silent = fill("critical", MLP([5, 6, 3], nn.GELU).double(), x=torch.zeros(4, 5))
    assert all(torch.isfinite(p).all() for p in silent.parameters())


def test_norm_parameters_are_reset():
    model = network(5, 6, 3, norm=nn.LayerNorm)
    with torch.no_grad():
        model.layers[0].norm.weight.fill_(7)
    fill("xavier_normal", model)
    assert (model.layers[0].norm.weight == 1).all()


def test_other_linear_modules_are_not_initialised():
    model = nn.Sequential(Layer(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3))
    before = model[1].weight.clone()
    generator = torch.Generator().manual_seed(0)
    variance_scaling(model, torch.ones(1, 3), generator, gain=1.0, fan="in", distribution="normal")
    assert torch.equal(model[1].weight, before)
