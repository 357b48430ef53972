"""CNN, recurrent networks and Transformer against torch's layers with the same weights."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from gradlab.config import choices
from gradlab.errors import SettingsError
from gradlab.models.feedforward import CNN
from gradlab.models.rnn import RNN, Recurrent, gru, lstm
from gradlab.models.transformer import Block, Transformer, sines
from gradlab.training.stack import Stack, build_network
from tests.configs import settings, train

F64 = torch.float64
CLOSE = {"rtol": 1e-11, "atol": 1e-13}
CHAINS = {"image": ["cnn"], "sequence": ["rnn", "lstm", "gru", "transformer"]}
SMALL = {"model__depth": 2, "model__width": 8, "train__batch_size": 6, "train__dtype": "float64"}


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_cnn_equals_torchs_convolutions(kernel):
    model = CNN([15, 4, 7, 3], nn.Tanh, shape=(5, 3), kernel=kernel).double()
    x = torch.randn(6, 15, dtype=F64)
    h = x.view(6, 1, 5, 3)
    for layer, n_in in zip(model.layers[:-1], (1, 4), strict=True):
        weight = layer.linear.weight.view(-1, n_in, kernel, kernel)
        h = torch.tanh(nn.functional.conv2d(h, weight, layer.linear.bias, padding="same"))
    # The output layer reads position by position, channel by channel.
    flat = h.permute(0, 2, 3, 1).reshape(6, -1)
    torch.testing.assert_close(model(x), model.layers[-1].linear(flat), **CLOSE)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm])
def test_a_cnns_normalisation_is_over_its_channels(norm):
    model = CNN([12, 6, 3], nn.ReLU, norm, shape=(4, 3), kernel=3).double()
    x = torch.randn(5, 12, dtype=F64)
    z = model.layers[0].linear(x[..., None]).reshape(5, 4, 3, 6).permute(0, 3, 1, 2)
    if norm is nn.BatchNorm1d:
        u = nn.BatchNorm2d(6).double()(z)
    else:
        u = nn.functional.layer_norm(z.movedim(1, -1), (6,)).movedim(-1, 1)
    a = torch.relu(u).permute(0, 2, 3, 1).reshape(5, -1)
    torch.testing.assert_close(model(x), model.layers[-1].linear(a), **CLOSE)


TORCHS = {
    "rnn": (RNN, nn.RNN, [0]),
    "lstm": (lambda *a, **k: lstm(*a, forget_bias=0.0, **k), nn.LSTM, [0, 1, 2, 3]),
    "gru": (gru, nn.GRU, [0, 1, 2]),
}


@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("target_steps", [None, 3])
def test_recurrent_networks_equal_torchs(name, target_steps):
    make, theirs, _ = TORCHS[name]
    model = make([14, 5, 5, 2], nn.Tanh, shape=(7, 2), target_steps=target_steps).double()
    same = theirs(2, 5, num_layers=2, batch_first=True, dtype=F64)
    with torch.no_grad():
        for l, layer in enumerate(model.layers[:-1]):
            for ours, suffix in (
                (layer.linear.weight, f"weight_ih_l{l}"),
                (layer.recurrent.weight, f"weight_hh_l{l}"),
                (layer.linear.bias, f"bias_ih_l{l}"),
                (torch.zeros_like(layer.linear.bias), f"bias_hh_l{l}"),
            ):
                getattr(same, suffix).copy_(ours)
    x = torch.randn(6, 14, dtype=F64)
    h, _ = same(x.view(6, 7, 2))
    h = h[:, -1] if target_steps is None else h[:, -target_steps:]
    torch.testing.assert_close(model(x), model.layers[-1].linear(h), **CLOSE)


def test_the_forget_bias_is_added_to_the_forget_gate():
    plain, open_ = (lstm([6, 4, 1], nn.Tanh, shape=(3, 2), forget_bias=f) for f in (0.0, 2.0))
    open_.load_state_dict(plain.state_dict())
    with torch.no_grad():
        plain.layers[0].linear.bias[4:8] += 2.0
    x = torch.randn(5, 6)
    torch.testing.assert_close(plain(x), open_(x))


@pytest.mark.parametrize("position", ["before", "after"])
def test_a_block_equals_torchs_encoder_layer(position):
    ours = Block(8, 2, 3, nn.GELU(), nn.LayerNorm, position).double()
    pre = position == "before"
    theirs = nn.TransformerEncoderLayer(
        8, 2, 24, 0.0, "gelu", batch_first=True, norm_first=pre, dtype=F64
    )
    attention = ours.attention
    maps = [attention.q.linear, attention.k.linear, attention.v.linear]
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([m.weight for m in maps]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([m.bias for m in maps]))
        for to, of in (
            (theirs.self_attn.out_proj, attention.out.linear),
            (theirs.linear1, ours.mlp[0].linear),
            (theirs.linear2, ours.mlp[1].linear),
        ):
            to.load_state_dict(of.state_dict())
    x = torch.randn(3, 5, 8, dtype=F64)
    torch.testing.assert_close(ours(x), theirs(x), **CLOSE)


def test_sines_equal_the_paper():
    """Vaswani et al. 2017, section 3.5."""
    table = sines(5, 6)
    for step in range(5):
        for i in range(3):
            angle = step / 10_000 ** (2 * i / 6)
            assert float(table[step, 2 * i]) == pytest.approx(np.sin(angle), abs=1e-15)
            assert float(table[step, 2 * i + 1]) == pytest.approx(np.cos(angle), abs=1e-15)


def test_a_transformer_reads_the_mean_of_all_steps_or_the_last_ones():
    common = {"shape": (6, 2), "heads": 2, "expansion": 2}
    mean = Transformer([12, 8, 3], nn.GELU, nn.LayerNorm, **common)
    last = Transformer([12, 8, 3], nn.GELU, nn.LayerNorm, target_steps=2, **common)
    last.load_state_dict(mean.state_dict())
    x = torch.randn(4, 12)
    every = Transformer([12, 8, 3], nn.GELU, nn.LayerNorm, target_steps=6, **common)
    every.load_state_dict(mean.state_dict())
    torch.testing.assert_close(every(x)[:, -2:], last(x))
    torch.testing.assert_close(every(x).mean(1), mean(x))  # the output layer is linear


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "rms"])
@pytest.mark.parametrize("name", ["cnn", "rnn", "lstm", "gru", "transformer"])
def test_stacked_networks_equal_separate_ones(name, norm):
    run = settings(model=name, model__norm=norm, **SMALL)
    data = run.data.call()
    models = [build_network(settings(model=name, model__norm=norm, seed=s, **SMALL), data, F64)
              for s in range(3)]  # fmt: skip
    params, buffers = stack_module_state(models)
    x = torch.randn(3, 6, 64, dtype=F64)
    stacked = vmap(lambda p, b, h: functional_call(models[0], (p, b), (h,)))(params, buffers, x)
    for index, model in enumerate(models):
        torch.testing.assert_close(stacked[index], model(x[index]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("init", choices.names("model/init"))
@pytest.mark.parametrize("name", ["cnn", "rnn", "lstm", "gru", "transformer"])
def test_every_initialisation_supports_a_network_or_refuses_it(name, init):
    run = settings(model=name, model__init=init, **SMALL)
    if init == "critical" and name != "cnn":
        with pytest.raises(SettingsError, match="init=critical needs a chain of layers"):
            build_network(run, run.data.call(), F64)
        return
    model = build_network(run, run.data.call(), F64)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_the_fans_of_a_convolution_count_its_kernel():
    run = settings(model="cnn", model__init="xavier_normal", model__width=24)
    weights = [
        build_network(
            settings(model="cnn", model__init=init, model__width=24), run.data.call(), F64
        ).layers[1].linear.weight.detach() for init in ("xavier_normal", "kaiming_normal")
    ]  # fmt: skip
    fan = 24 * 9
    for weight, expected in zip(weights, (1 / fan, 2 / fan), strict=True):
        assert weight.shape == (24, fan)
        assert float(weight.square().mean()) == pytest.approx(expected, rel=0.07)


@pytest.mark.parametrize("init", ["orthogonal", "lecun_normal", "default"])
def test_the_spectral_radius_is_the_requested_one(init):
    run = settings(model="rnn", model__init=init, model__spectral_radius=1.3, **SMALL)
    layers = [
        m for m in build_network(run, run.data.call(), F64).modules() if isinstance(m, Recurrent)
    ]
    assert len(layers) == 2
    for layer in layers:
        V = layer.recurrent.weight.detach()
        assert float(torch.linalg.eigvals(V).abs().max()) == pytest.approx(1.3, rel=1e-12)
        if init == "orthogonal":
            torch.testing.assert_close(V @ V.T, 1.69 * torch.eye(8, dtype=F64))
    plain = build_network(settings(model="rnn", model__init=init, **SMALL), run.data.call(), F64)
    assert torch.equal(plain.layers[0].linear.weight, layers[0].linear.weight)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model": "cnn", "data": "delivery", "loss": "mse"}, "model=cnn reads images"),
        ({"model": "cnn", "model__kernel": 4}, "model.kernel=4: expected an odd number; try 5"),
        (
            {"model": "rnn", "model__per_step": 7},
            "divisor of the 64 features of a sample; the nearest is 8",
        ),
        (
            {"model": "transformer", "model__heads": 5},
            "divisor of model.width=32; the nearest is 4",
        ),
        ({"model": "transformer", "model__depth": 0}, "at least one block"),
        (
            {"model": "mlp", "data": "copying"},
            "has one output per sample, but the data have targets at 5",
        ),
        (
            {"model": "gru", "model__norm": "layer", "model__norm_position": "before"},
            "expected model.norm_position=after",
        ),
        (
            {"model": "rnn", "model__init": "zeros", "model__spectral_radius": 1.0},
            "recurrent matrix has spectral radius 0",
        ),
    ],
)
def test_impossible_combinations_are_refused(overrides, words):
    run = settings(**overrides)
    with pytest.raises(SettingsError, match=words):
        build_network(run, run.data.call(), F64)


def test_the_form_of_the_input_cannot_be_overridden():
    with pytest.raises(SettingsError, match=r"model\.reads=flat: expected image"):
        settings(model="cnn", model__reads="flat")


@pytest.mark.parametrize("name", ["rnn", "transformer"])
def test_digits_can_be_read_by_pixel_or_by_row(name):
    rows, pixels = (settings(model=name, model__per_step=n, **SMALL) for n in (0, 1))
    for run, steps in ((rows, (8, 8)), (pixels, (64, 1))):
        assert build_network(run, run.data.call(), F64).steps == steps


@pytest.mark.parametrize("name", ["cnn", "rnn", "lstm", "gru", "transformer"])
def test_each_network_learns_the_digits(name):
    run = settings(model=name, optim="adam", optim__lr=0.01, train__steps=40, model__width=16)
    loop, (sink,) = train(run)
    assert np.mean(sink.steps("loss")[-5:]) < 0.7 * sink.steps("loss")[0]
    assert loop.evaluate()[0]["accuracy"] > 0.4


@pytest.mark.parametrize("name", ["rnn", "transformer"])
def test_the_accuracy_of_several_steps_is_their_mean(name):
    run = settings(model=name, data="copying", data__samples=200, train__steps=1, seed=2)
    loop, (sink,) = train(run)
    stack = Stack([run], loop.minibatches.dataset)
    x, y = (
        loop.minibatches.dataset.x_train[loop.minibatches.index_MB[0]],
        loop.minibatches.dataset.y_train[loop.minibatches.index_MB[0]],
    )
    output = build_network(run, loop.minibatches.dataset, torch.float32)(x.float())
    assert output.shape == (64, 5, 8)
    right = (output.argmax(-1) == y).double().mean()
    assert sink.steps("accuracy")[0] == pytest.approx(float(right))
    log_p = output.double().log_softmax(-1).gather(-1, y[..., None])
    assert sink.steps("loss")[0] == pytest.approx(-float(log_p.detach().mean()), rel=1e-5)
    assert stack.size == 1
    assert 0 <= loop.evaluate()[0]["accuracy"] < 0.5
