"""Signals at modules equal autograd, for every kind of forward pass."""

import copy
import dataclasses
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import gradlab
from gradlab.results.nullable import numpy_floats, values_and_mask
from tests.monitor.loops import batches, error_signals, gradients, loss_of, mlp, train

cross_entropy = nn.functional.cross_entropy


def watched(model, data, *, forward=None, **kwargs):
    """Train with one step per batch, and return the monitor."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer, **kwargs) as monitor:
        for x, y in data:
            optimizer.zero_grad()
            cross_entropy((forward or model)(x), y).backward()
            optimizer.step()
    return monitor


def at(monitor, column, step=0):
    rows = monitor.frame()[monitor.frame()["step"] == step]
    return rows.set_index("module")[column]


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.body, self.reentrant = mlp(dropout=0.3), reentrant

    def forward(self, x):
        if self.reentrant is None:
            return self.body(x)
        x = self.body[0](x)  # reentrant checkpointing needs an input with a gradient
        x = checkpoint(self.body[1:5], x, use_reentrant=self.reentrant)
        return self.body[5](x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_modules_are_counted_once(reentrant):
    torch.manual_seed(3)
    plain = watched(Checkpointed(None), batches(3))
    torch.manual_seed(3)
    monitor = watched(Checkpointed(reentrant), batches(3))
    assert monitor.modules == plain.modules
    expected = numpy_floats(plain.frame()).select_dtypes("float64")
    np.testing.assert_allclose(
        numpy_floats(monitor.frame()).select_dtypes("float64"), expected, rtol=1e-6
    )


def test_the_product_of_the_factors_is_the_gain_of_the_signal():
    monitor = watched(mlp(dtype=torch.float64), batches(1, dtype=torch.float64))
    rows = at(monitor, "delta_norm")
    gained = at(monitor, "act_factor").iloc[:-1] * at(monitor, "weight_factor").to_numpy()[1:]
    np.testing.assert_allclose(gained, rows[:-1] / rows.to_numpy()[1:], rtol=1e-9)
    assert (at(monitor, "norm_factor").iloc[:-1] == 1).all()


def test_normalisation_before_the_activation_is_a_factor():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Sigmoid(), nn.Linear(9, 3)).double()
    data = batches(1, dtype=torch.float64)
    monitor = watched(model, data)
    first = monitor.frame().iloc[0]
    product = first["norm_factor"] * first["act_factor"] * monitor.frame()["weight_factor"][1]
    assert first["norm_factor"] != 1
    assert product == pytest.approx(
        first["delta_norm"] / monitor.frame()["delta_norm"][1], rel=1e-9
    )
    assert first["preact_mean"] == pytest.approx(0, abs=1e-9)  # of the activation's input


def test_weight_factor_counts_only_this_modules_share_of_the_input_gradient():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.a, self.b = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x):
            h = self.first(x)
            return (self.a(h) + self.b(h) + h)[:, :3]

    torch.manual_seed(0)
    model = Shared().double()
    (x, y), *_ = data = batches(1, dtype=torch.float64)
    out = model(x).detach().requires_grad_()
    cross_entropy(out, y).backward()
    delta = nn.functional.pad(out.grad, (0, 3))
    expected = (delta @ model.a.weight.detach()).norm() / delta.norm()
    monitor = watched(model, data)
    assert at(monitor, "weight_factor")["a"] == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("times", [2, 5])
def test_a_module_called_several_times_is_recorded_each_time(times):
    torch.manual_seed(0)
    cell = nn.Linear(6, 6).double()
    (x, y), *_ = batches(1, dtype=torch.float64)

    class Repeated(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            for _ in range(times):
                x = self.cell(x).tanh()
            return x[:, :3]

    outputs, h = [], x
    for _ in range(times):
        z = cell(h)
        z.retain_grad()
        outputs.append(z)
        h = z.tanh()
    cross_entropy(h[:, :3], y).backward()
    every = torch.stack([z.grad for z in outputs]).norm()
    values = torch.stack([z.detach() for z in outputs])
    cell.zero_grad()
    rows = watched(Repeated(), [(x, y)]).frame().iloc[0]
    assert rows["delta_norm"] == pytest.approx(float(every), rel=1e-9)
    assert rows["preact_std"] == pytest.approx(float(values.std(correction=0)), rel=1e-9)


def test_tied_weights_have_one_gradient_in_both_rows():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 5), nn.Linear(5, 7, bias=False))
    model[2].weight = model[0].weight
    tokens = torch.randint(7, (4, 6))
    expected = gradients(model, lambda m: cross_entropy(m(tokens).flatten(0, 1), tokens.flatten()))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
    rows = at(monitor, "weight_grad_norm")
    assert rows["0"] == rows["2"] == pytest.approx(float(expected["0.weight"].norm()), rel=1e-6)
    whole = torch.cat([g.flatten() for g in expected.values()]).norm()
    assert monitor.steps()["grad_norm"][0] == pytest.approx(float(whole), rel=1e-6)


def test_outputs_in_mappings_and_tuples():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.lstm = nn.Linear(6, 4), nn.LSTM(4, 3, batch_first=True)

        def forward(self, x):
            out, (h, c) = self.lstm(self.linear(x)[:, None])
            return {"logits": out[:, 0], "states": [h, c]}

    torch.manual_seed(0)
    monitor = watched(
        model := Many(), batches(1), forward=lambda x: model(x)["logits"], modules="?*"
    )
    rows = at(monitor, "delta_norm")
    assert rows["lstm"] > 0
    assert monitor.modules == ["linear", "lstm"]
    monitor = watched(model, batches(1), forward=lambda x: model(x)["logits"], modules=Many)
    assert at(monitor, "delta_norm").tolist() == pytest.approx([rows["lstm"]], rel=0.2)


def test_evaluation_is_not_recorded():
    model, data = mlp(), batches(3)
    plain = watched(mlp(), data)

    def forward(x):
        model.eval()
        with torch.no_grad():
            model(torch.randn(50, 6))
        model(torch.randn(50, 6))  # with a graph that is never used
        x = torch.randn(4, 6, requires_grad=True)
        torch.autograd.grad(model(x).sum(), x)
        model.train()
        return model(data[remaining.pop(0)][0])

    remaining = [0, 1, 2]
    monitor = watched(model, data, forward=forward)
    expected = numpy_floats(plain.frame()).select_dtypes("float64")
    np.testing.assert_array_equal(numpy_floats(monitor.frame()).select_dtypes("float64"), expected)


def test_signals_under_autocast_are_measured_in_bfloat16():
    data = batches(2)
    wide = watched(mlp(), data)

    def forward(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x).float()

    monitor = watched(model := mlp(), data, forward=forward)
    for column in ("delta_norm", "weight_factor", "act_factor", "preact_std", "weight_grad_norm"):
        np.testing.assert_allclose(at(monitor, column), at(wide, column), rtol=0.05)
    assert monitor.frame()["delta_norm"].nunique() == len(monitor.frame())


def test_gradients_far_outside_the_range_of_squares():
    model, data = mlp(), batches(1)
    signals = error_signals(model, lambda z: cross_entropy(z, data[0][1]), data[0][0])
    for scale in (1e-30, 1e25):
        twin = copy.deepcopy(model)
        optimizer = torch.optim.SGD(twin.parameters(), 0.0)
        with gradlab.watch(twin, optimizer) as monitor:
            (loss_of(twin, data[0]) * scale).backward()
            optimizer.step()
        np.testing.assert_allclose(at(monitor, "delta_norm") / scale, signals, rtol=1e-4)


def test_nan_gradients_are_recorded_as_nan():
    model, data = mlp(), batches(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with gradlab.watch(model, optimizer) as monitor:
        (loss_of(model, data[0]) * torch.nan).backward()
        optimizer.step()
    values, null = values_and_mask(monitor.frame(), "delta_norm")
    assert np.isnan(values).all()
    assert not null.any()
    assert (monitor.frame()["grad_nonfinite"] == 1).all()
    assert [finding.kind for finding in monitor.diagnose()] == ["overflow"]


@pytest.mark.parametrize("when", ["before", "within", "in place"])
def test_of_a_compiled_network_only_parameters_are_recorded(when):
    torch._dynamo.reset()
    model, data = mlp(dropout=0.0), batches(2)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    called = torch.compile(model, backend="aot_eager") if when == "before" else model
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(called, optimizer) as monitor:
        if when == "within":
            called = torch.compile(model, backend="aot_eager", fullgraph=True)
        if when == "in place":
            model.compile(backend="aot_eager")
        with pytest.warns(UserWarning, match="no signals from 3 of 3 modules.*compile") as warned:
            train(called, optimizer, data)
    weights = [float(g.norm()) for name, g in expected.items() if name.endswith("weight")]
    np.testing.assert_allclose(at(monitor, "weight_grad_norm"), weights, rtol=1e-5)
    assert monitor.frame()["delta_norm"].isna().all()
    assert monitor.modules == ["0", "3", "5"]
    assert np.isfinite(monitor.steps()["loss"]).all()
    assert len([w for w in warned if "no signals" in str(w.message)]) == 1
    assert monitor.diagnose() == []


def test_a_compiled_block_has_no_signals_and_the_other_modules_have():
    torch._dynamo.reset()
    model = nn.Sequential(mlp(), nn.Linear(3, 3))
    model[0].compile(backend="aot_eager")
    with pytest.warns(UserWarning, match="no signals from 3 of 4 modules"):
        monitor = watched(model, batches(1))
    assert at(monitor, "delta_norm").notna().to_dict() == {
        "0.0": False,
        "0.3": False,
        "0.5": False,
        "1": True,
    }


def test_activations_after_other_modules_are_not_counted():
    monitor = watched(mlp(), batches(1), modules="[05]")
    assert at(monitor, "act_factor").notna().to_dict() == {"0": True, "5": False}
    monitor = watched(mlp(), batches(1), modules=lambda name, module: name == "5")
    assert at(monitor, "act_factor").isna().all()


def test_dead_and_saturated_units_of_activations():
    model = mlp()
    with torch.no_grad():
        model[3].bias[:4] = -100.0  # off for every sample
        model[0].weight *= 1e3
    monitor = watched(model, batches(1))
    assert at(monitor, "dead")["3"] >= 0.4
    assert at(monitor, "saturated")["0"] > 0.9
    assert at(monitor, "dead").isna()["5"]


def test_convolutions_count_channels_as_units():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )
    with torch.no_grad():
        model[0].bias[:2] = -100.0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        cross_entropy(model(torch.randn(8, 1, 6, 6)), torch.randint(3, (8,))).backward()
        optimizer.step()
    assert at(monitor, "dead")["0"] == pytest.approx(0.4)
    assert monitor.modules == ["0", "2", "5"]


def test_attention_is_recorded_at_its_output():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    with gradlab.watch(layer, optimizer) as monitor:
        layer(x).square().mean().backward()
        optimizer.step()
    assert monitor.modules == ["self_attn", "self_attn.out_proj", "linear1", "linear2"]
    rows = monitor.frame().set_index("module")
    assert rows["delta_norm"].notna().tolist() == [False, True, True, True]
    assert rows["weight_grad_norm"].notna().all()
    assert monitor.notes == []


def test_modules_without_matrices_can_be_chosen():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3))
    monitor = watched(model, batches(1), modules=[nn.LayerNorm, nn.Linear])
    rows = monitor.frame().set_index("module")
    assert rows["weight_grad_norm"].notna().all()
    assert rows.loc["0", "delta_norm"] > 0
    assert rows["unit_spread"].isna()["0"]
    norms = nn.ModuleList([nn.LayerNorm(6)])
    optimizer = torch.optim.SGD(norms.parameters(), 0.1)
    with gradlab.watch(norms, optimizer, modules=nn.LayerNorm) as monitor:
        norms[0](torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
    assert monitor.modules == ["0"]


def test_parametrised_weights_are_recorded():
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), nn.Linear(5, 3))
    monitor = watched(model, batches(1))
    assert monitor.modules == ["0", "1"]
    grads = [p.grad for p in model[0].parametrizations.weight.parameters()]
    expected = torch.stack([grad.norm() for grad in grads]).norm()
    assert at(monitor, "weight_grad_norm")["0"] == pytest.approx(float(expected), rel=1e-6)
    assert monitor.frame()["delta_norm"].notna().all()


def test_hooks_of_the_user_run_only_for_the_users_calls():
    model, data, shapes = mlp(), batches(3), []
    for module in model:
        module.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    watched(model, data)
    assert len(shapes) == len(model) * len(data)
    assert {shape[0] for shape in shapes} == {8}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_scripted_modules_have_no_signals():
    torch.manual_seed(0)
    model = nn.Sequential(torch.jit.script(nn.Linear(6, 4)), nn.Linear(4, 3))
    with pytest.warns(UserWarning, match="no signals from 1 of 2 modules"):
        monitor = watched(model, batches(1))
    assert at(monitor, "weight_grad_norm").notna().all()
    assert at(monitor, "delta_norm").isna().tolist() == [True, False]


def test_sparse_gradients_and_packed_sequences():
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Embedding(50, 4, sparse=True), nn.GRU(4, 3, batch_first=True)])
    tokens = torch.tensor([[1, 2, 3], [4, 5, 0]])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        packed = nn.utils.rnn.pack_padded_sequence(model[0](tokens), [3, 2], batch_first=True)
        out, last = model[1](packed)
        (out.data.sum() + 2 * last.sum()).backward()
        optimizer.step()
    dense = model[0].weight.grad.to_dense()
    assert at(monitor, "weight_grad_norm")["0"] == pytest.approx(float(dense.norm()), rel=1e-6)
    assert at(monitor, "grad_zeros")["0"] == pytest.approx(float((dense == 0).double().mean()))
    expected = np.sqrt(out.data.numel() + 4 * last.numel())  # ones, and twos at the last
    assert at(monitor, "delta_norm")["1"] == pytest.approx(expected, rel=1e-6)


class Gate(nn.Module):
    """Uses its input twice, next to a residual: an alias would change the order of the sum."""

    def __init__(self, n):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.randn(n, n) / n**0.5) for _ in range(2))

    def forward(self, x):
        return (x @ self.a).sigmoid() * (x @ self.b)


class Attention(nn.Module):
    """Attention of torch, which tests whether `query is key`."""

    def __init__(self, n):
        super().__init__()
        self.inner = nn.MultiheadAttention(n, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x[None], x[None], x[None], need_weights=False)[0][0]


class Around(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(6, 8), kind(8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.first(x).tanh()
        return self.last(h + self.inner(h) + h.sin())


@pytest.mark.parametrize("kind", [Gate, Attention])
def test_the_input_of_a_module_is_unchanged(kind):
    torch.manual_seed(0)
    model, data = Around(kind), batches(20)
    plain = copy.deepcopy(model)
    monitor = watched(model, data, modules=[nn.Linear, kind, nn.MultiheadAttention])
    train(plain, torch.optim.SGD(plain.parameters(), 0.1), data)
    for (name, a), b in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert at(monitor, "weight_factor")["inner"] > 0


def test_the_share_of_the_input_gradient_is_the_sum_over_all_uses():
    torch.manual_seed(0)
    model = Around(Gate).double()
    (x, y), *_ = data = batches(1, dtype=torch.float64)
    h = model.first(x).tanh().detach()
    inner = model.inner(h).detach().requires_grad_()
    delta = torch.autograd.grad(cross_entropy(model.last(h + inner + h.sin()), y), inner)[0]
    copied = h.clone().requires_grad_()
    share = torch.autograd.grad(model.inner(copied), copied, delta)[0]
    monitor = watched(model, data)
    assert at(monitor, "weight_factor")["inner"] == pytest.approx(
        float(share.norm() / delta.norm()), rel=1e-9
    )


def test_keyword_arguments_and_dataclass_outputs():
    @dataclasses.dataclass
    class Out:
        logits: torch.Tensor

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):
            return Out(self.b(input=self.a(x)))

    torch.manual_seed(0)
    model, data = Named().double(), batches(1, dtype=torch.float64)
    delta = error_signals(
        nn.Sequential(model.a, model.b), lambda z: cross_entropy(z, data[0][1]), data[0][0]
    )
    monitor = watched(model, data, forward=lambda x: model(x).logits)
    factor = at(monitor, "weight_factor")["b"]
    assert factor == pytest.approx(delta[0] / delta[1], rel=1e-9)
    monitor = watched(model, data, forward=lambda x: model(x).logits, modules=Named)
    assert at(monitor, "delta_norm").notna().all()


def test_a_recursive_module_is_recorded_at_every_depth():
    class Tree(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 6) / 2)

        def forward(self, x, depth=2):
            x = self(x, depth - 1) if depth else x
            return x @ self.weight

    torch.manual_seed(0)
    model, (x, y) = Tree().double(), batches(1, dtype=torch.float64)[0]
    outputs, h = [], x
    for _ in range(3):
        h = h @ model.weight
        h.retain_grad()
        outputs.append(h)
    cross_entropy(h, y).backward()
    expected = torch.stack([z.grad for z in outputs]).norm()
    model.zero_grad()
    assert at(watched(model, [(x, y)]), "delta_norm").iloc[0] == pytest.approx(float(expected))


def test_an_activation_that_begins_a_pass_belongs_to_no_module():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(), nn.Linear(6, 3))

    def forward(x):
        return model(x.clone().requires_grad_()) * model(-x.clone().requires_grad_())

    assert at(watched(model, batches(1), forward=forward), "act_factor").isna().all()


@pytest.mark.parametrize("shape", [(6,), ()])
def test_a_single_sample_without_a_batch(shape):
    torch.manual_seed(0)

    class Vector(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act = nn.Linear(6, 6 if shape else 1), nn.ReLU()

        def forward(self, x):
            return self.act(self.linear(x).reshape(shape))

    model = Vector()
    with torch.no_grad():
        model.linear.bias.fill_(100.0)
        model.linear.bias[:3] *= -1 if shape else 1
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        model(torch.randn(6)).sum().backward()
        optimizer.step()
    assert at(monitor, "dead").tolist() == [0.5 if shape else 0.0]


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.ConvTranspose1d(1, 5, 2), (6,)),
        (nn.ConvTranspose2d(1, 5, 2), (4, 6)),
        (nn.ConvTranspose3d(1, 5, 2), (3, 4, 6)),
    ],
)
def test_transposed_convolutions_count_channels_as_units(layer, size):
    model = nn.Sequential(copy.deepcopy(layer), nn.ReLU())
    with torch.no_grad():
        model[0].bias.fill_(1.0)
        model[0].bias[:2] = -100.0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        model(torch.ones(3, 1, *size)).square().mean().backward()
        optimizer.step()
    assert at(monitor, "dead").tolist() == [0.4]
    grad = model[0].weight.grad.transpose(0, 1)
    spread = (grad - grad.mean(0)).norm() / grad.norm()
    assert at(monitor, "unit_spread").iloc[0] == pytest.approx(float(spread), rel=1e-5)


def test_complex_numbers_have_norms():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(6, 6, dtype=torch.complex64) for _ in range(2)), nn.Flatten())
    x = torch.randn(4, 6, dtype=torch.complex64)
    z = model[0](x)
    z.retain_grad()
    before = model[0].weight.detach().clone()
    model[1](z).abs().square().mean().backward()
    model.zero_grad()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        model(x).abs().square().mean().backward()
        optimizer.step()
    assert at(monitor, "delta_norm")["0"] == pytest.approx(float(z.grad.norm()), rel=1e-5)
    norm = float(model[0].weight.grad.norm())
    assert at(monitor, "weight_grad_norm")["0"] == pytest.approx(norm, rel=1e-5)
    moved = (model[0].weight - before).norm() / before.norm()
    assert at(monitor, "update_ratio")["0"] == pytest.approx(float(moved.detach()), rel=1e-5)
    assert at(monitor, "preact_std").isna().all()


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided, torch.sparse_coo])
@pytest.mark.filterwarnings("ignore:.*nested tensors.*prototype")
def test_nested_and_sparse_tensors_have_no_signal(layout):
    class Sparse(nn.Linear):
        def forward(self, x):
            return torch.sparse.mm(x, self.weight.T)

    torch.manual_seed(0)
    model = Sparse(6, 3, bias=False) if layout is torch.sparse_coo else nn.Linear(6, 3)
    parts = [torch.randn(2, 6), torch.randn(3, 6)]

    def loss():
        if layout is torch.sparse_coo:
            return model(torch.eye(6).to_sparse().requires_grad_()).square().sum()
        out = model(torch.nested.nested_tensor(parts, layout=layout))
        return sum(each.square().sum() for each in out.unbind())

    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with warnings.catch_warnings(), gradlab.watch(model, optimizer) as monitor:
        warnings.filterwarnings("ignore", "no signals from 1 of 1")
        loss().backward()
        optimizer.step()
    dense = layout is torch.sparse_coo  # only its input is sparse
    assert at(monitor, "delta_norm").notna().tolist() == [dense]
    assert at(monitor, "weight_factor").isna().all()
    assert at(monitor, "weight_grad_norm").iloc[0] == pytest.approx(float(model.weight.grad.norm()))


def test_transforms_and_traces_of_the_model_are_not_recorded():
    model, data = mlp(), batches(2)
    plain = watched(mlp(), data)

    def one(parameters, x):
        return torch.func.functional_call(model, parameters, (x[None],)).sum()

    def forward(x):
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        torch.func.vmap(torch.func.grad(one), (None, 0))(parameters, x)
        torch.func.jacrev(lambda x: model(x))(x)
        torch.autograd.functional.hessian(lambda x: model(x).sum(), x[:1], vectorize=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=torch.jit.TracerWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            torch.jit.trace(model, x)
        torch.fx.symbolic_trace(model)
        torch.export.export(model, (x,))
        return model(x)

    monitor = watched(model, data, forward=forward)
    expected = numpy_floats(plain.frame()).select_dtypes("float64")
    np.testing.assert_array_equal(numpy_floats(monitor.frame()).select_dtypes("float64"), expected)


def test_another_thread_may_evaluate():
    """Also a part of the network, before the first pass, which gives the order of modules."""
    model, data = mlp(), batches(60)
    begun, ended = threading.Event(), threading.Event()

    def evaluate():
        with torch.no_grad():
            model[5](torch.randn(2, 10))
            begun.set()
            while not ended.is_set():
                model(torch.randn(2, 6))

    thread = threading.Thread(target=evaluate)

    def forward(x):
        if not begun.is_set():
            thread.start()
            begun.wait()
        return model(x)

    plain = watched(mlp(), data)
    try:
        monitor = watched(model, data, forward=forward)
    finally:
        ended.set()
        thread.join()
    expected = numpy_floats(plain.frame()).select_dtypes("float64")
    np.testing.assert_array_equal(numpy_floats(monitor.frame()).select_dtypes("float64"), expected)
