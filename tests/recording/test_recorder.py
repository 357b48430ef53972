"""The recorder agrees with backpropagation in NumPy and does not change training."""

import numpy as np
import pytest
import torch
from torch import nn

from gradlab import schema
from gradlab.models.feedforward import Layer
from gradlab.recording.columns import (
    LayerKind,
    LayerTensors,
    derivative,
    layer_columns,
    std,
    steepest_slope,
)
from gradlab.recording.modules import find_modules
from gradlab.recording.norms import matrix_norm, mean
from gradlab.recording.probes import Probes
from gradlab.recording.recorder import measure
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.training.minibatches import Batches
from gradlab.training.stack import Stack
from tests import backprop
from tests.configs import settings, train


def batch_of(dataset, batch_size, seed):
    """Return the samples that a run of this seed uses at step 0."""
    index = Batches(len(dataset.x_train), batch_size, [seed]).next()[0]
    return dataset.x_train[index].numpy(), dataset.y_train[index].numpy()


def by_hand(run, dataset):
    """Return the columns at step 0, computed with NumPy from the initial weights of the run."""
    stack = Stack([run], dataset)
    params = {name: view[0].detach().numpy() for name, view in stack.params.items()}
    count = run.model.depth + 1
    weights = [params[f"layers.{i}.linear.weight"] for i in range(count)]
    biases = [params[f"layers.{i}.linear.bias"] for i in range(count)]
    x, y = batch_of(dataset, run.train.batch_size, run.seed)
    names = run.model.activation.name, run.loss.component.name
    return weights, backprop.step(weights, biases, x, y, *names)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_every_column_equals_backpropagation_in_numpy(activation, loss):
    lr = 0.3
    run = settings(
        loss=loss,
        model__activation=activation,
        model__depth=4,
        model__width=11,
        model__init="kaiming_normal",
        optim__lr=lr,
        train__dtype="float64",
        train__steps=1,
        train__batch_size=17,
        seed=3,
    )
    dataset = run.data.call()
    _, (sink,) = train(run, dataset=dataset)
    weights, expected = by_hand(run, dataset)
    (layers,) = sink.layers
    assert sink.steps("loss")[0] == pytest.approx(expected.loss, rel=1e-12)
    for index, row in enumerate(expected.columns):
        updated = lr * np.linalg.norm(expected.weight_grads[index]) / np.linalg.norm(weights[index])
        for name, value in {**row, "update_ratio": updated}.items():
            assert layers[name][index] == pytest.approx(value, rel=1e-10, abs=1e-15, nan_ok=True), (
                name
            )
    assert set(expected.columns[0]) | {"update_ratio"} == {c.name for c in schema.STATISTICS}
    grads = [*expected.weight_grads, *expected.bias_grads]
    whole = np.sqrt(sum((g**2).sum() for g in grads))
    assert sink.steps("grad_norm")[0] == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("data", ["digits", "diabetes"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "silu"])
def test_the_product_of_all_factors_is_the_gradient_of_the_input(activation, data):
    run = settings(
        data=data,
        loss="mse",
        model__activation=activation,
        model__depth=9,
        model__init="xavier_normal",
        train__dtype="float64",
        train__steps=21,
        record__every=5,
    )
    _, (sink,) = train(run)
    assert [int(layers["step"][0]) for layers in sink.layers] == [0, 5, 10, 15, 20]
    for layers in sink.layers:
        product = layers["act_grad_norm"][-1] * np.prod(layers["act_factor"])
        product *= np.prod(layers["weight_factor"])
        input_grad = layers["weight_factor"][0] * layers["delta_norm"][0]
        assert input_grad == pytest.approx(product, rel=1e-6)
        # Layer by layer: the gradient that a layer passes back arrives at the layer before it.
        passed_back = layers["weight_factor"][1:] * layers["delta_norm"][1:]
        np.testing.assert_allclose(layers["act_grad_norm"][:-1], passed_back, rtol=1e-12)


@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_norm_factor_completes_the_product_of_a_network_with_normalisation(norm, position):
    run = settings(
        model__depth=6,
        model__norm=norm,
        model__norm_position=position,
        train__dtype="float64",
        train__steps=3,
        record__every=1,
    )
    _, (sink,) = train(run)
    for layers in sink.layers:
        logs = {
            name: np.log10(layers[name])
            for name in ("delta_norm", "act_factor", "weight_factor", "norm_factor")
        }
        lost = logs["delta_norm"][0] - logs["delta_norm"][-1]
        parts = logs["weight_factor"][1:] + logs["act_factor"][:-1] + logs["norm_factor"][:-1]
        assert lost == pytest.approx(parts.sum(), abs=1e-10)
        assert (np.abs(logs["norm_factor"][:-1]) > 1e-3).all()


def test_weight_factor_of_a_residual_network_excludes_the_skip_connection():
    run = settings(model="resmlp", model__depth=3, train__dtype="float64", train__steps=1)
    dataset = run.data.call()
    stack = Stack([run], dataset)
    _, (sink,) = train(run, dataset=dataset)
    x, y = (torch.from_numpy(v) for v in batch_of(dataset, 64, 0))
    deltas = {}

    def store_delta(index):
        def hook(module, inputs, z):
            z.register_hook(lambda g: deltas.__setitem__(index, g))

        return hook

    for index, layer in enumerate(stack.model.layers):
        layer.linear.register_forward_hook(store_delta(index))
    stack.gradients(stack.losses(x[None], y[None])[0])
    weights = stack.params
    for index, delta in deltas.items():
        back = delta @ weights[f"layers.{index}.linear.weight"][0]
        expected = float(back.norm() / delta.norm())
        assert sink.layers[0]["weight_factor"][index] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_recording_never_changes_training(activation, norm):
    runs = [
        settings(
            model__activation=activation, model__norm=norm, train__steps=30, record__every=every
        )
        for every in (1, 1000)
    ]
    often, never = (train(run)[0] for run in runs)
    assert torch.equal(often.stack.parameters.theta, never.stack.parameters.theta)
    for name, buffer in often.stack.buffers.items():
        assert torch.equal(buffer, never.stack.buffers[name])


def test_the_probes_remove_all_hooks_also_after_an_error():
    model = nn.Sequential(Layer(nn.Linear(3, 4), nn.Tanh()), Layer(nn.Linear(4, 2)))
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with pytest.raises(RuntimeError), Probes(find_modules(model), stacked=False):
        model(torch.ones(5, 4))  # wrong width: the forward pass fails
    with Probes(find_modules(model), stacked=False):
        model(torch.ones(5, 3)).sum().backward()
    for name, module in model.named_modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert vars(module).keys() == before[name].keys()


def test_an_in_place_activation_is_measured_as_any_other():
    torch.manual_seed(0)
    model = nn.Sequential(Layer(nn.Linear(6, 8), nn.ReLU(inplace=True)), Layer(nn.Linear(8, 2)))
    same = nn.Sequential(Layer(nn.Linear(6, 8), nn.ReLU()), Layer(nn.Linear(8, 2)))
    same.load_state_dict(model.state_dict())
    x = torch.randn(5, 6)
    tables = []
    for each in (model, same):
        modules = find_modules(each)
        with Probes(modules, stacked=False) as probes:
            each(x).square().mean().backward()
        params = {name: p.detach()[None] for name, p in each.named_parameters()}
        grads = {name: p.grad[None] for name, p in each.named_parameters()}
        tables.append(measure(modules, probes.signals, params, grads, params))
    assert torch.equal(tables[0], tables[1])
    dead_or_off = tables[1][0, 0, [c.name for c in schema.STATISTICS].index("saturated")]
    assert 0 < dead_or_off < 1


def test_vanished_gradients_differ_from_underflow_and_from_dead_units():
    deep = settings(
        model__activation="sigmoid",
        model__depth=60,
        model__init="normal",
        model__init_gain=1e-3,
        train__steps=1,
    )
    _, (sink,) = train(deep)
    delta = sink.layers[0]["delta_norm"]
    vanished, underflowed = (delta > 0) & (delta < 1e-20), delta == 0
    assert vanished.any()
    assert underflowed.any()
    assert (sink.layers[0]["grad_zeros"][underflowed] == 1).all()
    assert (sink.layers[0]["dead"] == 0).all()  # sigmoid's derivative is not 0 here
    # In float64 the gradients of the same network do not underflow.
    _, (wide,) = train(settings_like(deep, train__dtype="float64"))
    assert (wide.layers[0]["delta_norm"] > 0).all()
    np.testing.assert_allclose(wide.layers[0]["delta_norm"][vanished], delta[vanished], rtol=0.1)


def settings_like(run, **changes):
    return settings(
        model__activation=run.model.activation.name,
        model__depth=run.model.depth,
        model__init=run.model.init.name,
        model__init_gain=run.model.init_gain,
        train__steps=run.train.steps,
        **changes,
    )


def test_a_unit_is_dead_if_it_is_off_for_the_whole_batch():
    layer = Layer(nn.Linear(1, 4), nn.ReLU())
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
        layer.linear.bias.copy_(torch.tensor([0.0, 5.0, -1.0, 1.0]))
    model = nn.Sequential(layer, Layer(nn.Linear(4, 1)))
    modules = find_modules(model)
    with Probes(modules, stacked=False) as probes:
        model(torch.tensor([[-1.0], [1.0]])).sum().backward()
    params = {name: p.detach()[None] for name, p in model.named_parameters()}
    row = measure(modules, probes.signals, params, params, params)[0, 0]
    names = [column.name for column in schema.STATISTICS]
    assert row[names.index("dead")] == 0.25  # the third unit
    assert row[names.index("saturated")] == 0.375  # its two entries and one of the first unit


@pytest.mark.parametrize(
    ("activation", "largest"),
    [
        (nn.Sigmoid(), 0.25),
        (nn.Tanh(), 1.0),
        (nn.ReLU(), 1.0),
        (nn.GELU(), 1.128904145),
        (nn.SiLU(), 1.099839320),
        (nn.SELU(), 1.0507009873554805 * 1.6732632423543772),
    ],
)
def test_largest_derivative(activation, largest):
    assert steepest_slope(activation) == pytest.approx(largest, rel=1e-3)


def test_derivative_is_computed_in_the_dtype_of_the_run():
    z = torch.tensor([-200.0, 0.0, 20.0])
    slope = derivative(nn.Sigmoid(), z)
    assert slope.dtype == torch.float32
    assert slope.tolist() == [0.0, 0.25, 0.0]  # at 20, sigmoid rounds to 1 in float32


def test_mean_and_standard_deviation_are_exact_for_tiny_and_huge_entries():
    unit = torch.randn(2, 3, 8, 5, dtype=torch.float64)
    for scale in (1.0, 2.0**-900, 2.0**900):
        x = unit * scale
        found = mean(x), std(matrix_norm(x), mean(x), [x])
        torch.testing.assert_close(found[0], unit.mean((-2, -1)) * scale, rtol=1e-12, atol=0)
        torch.testing.assert_close(
            found[1], unit.std((-2, -1), correction=0) * scale, rtol=1e-12, atol=0
        )


def random_layers(dtype, **changes):
    """Return random tensors of 2 layers of 3 members: 8 samples, 6 inputs, 5 units."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)

    tensors = {name: draw(8, 5) for name in ("delta", "preact_grad", "act_grad", "out_grad")}
    tensors |= {name: draw(8, 5) for name in ("preact", "act")} | {"back": draw(8, 6)}
    tensors |= {name: draw(5, 6) for name in ("weight", "weight_grad", "weight_after")}
    tensors["bias_grad"] = draw(5)
    for name, change in changes.items():
        tensors[name] = change(tensors[name])
    # Round to float32 first, so that both dtypes start with equal numbers.
    return LayerTensors(**{name: x.float().to(dtype) for name, x in tensors.items()})


def only_one_member(change):
    """Apply a change to one member of the first layer only."""

    def changed(x):
        x = x.clone()
        x[0, 1] = change(x[0, 1])
        return x

    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"delta": lambda x: 1e-20 * x, "back": lambda x: 1e-30 * x, "act_grad": lambda x: 0 * x},
        {"weight_grad": lambda x: 1e-25 * x, "weight": lambda x: 1e25 * x},
        {"preact": lambda x: x + 300, "act": lambda x: 1e-4 * x + 0.5},
        {"weight_grad": lambda x: x.mean(-2, keepdim=True).expand(x.shape) + 1e-4 * x},
        {"weight_grad": lambda x: x.mean(-2, keepdim=True).expand(x.shape)},
        {"weight_grad": lambda x: x.masked_fill(x > 1, torch.inf), "act": lambda x: x * torch.nan},
        {"preact": lambda x: -x.abs()},
    ],
)
@pytest.mark.parametrize("members", [lambda change: change, only_one_member])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Hardtanh(), None])
def test_float32_columns_equal_float64_columns_in_six_digits(changes, members, activation):
    kind = LayerKind(activation, 1.0, normalised=True, bias=True, weight_count=30)
    changes = {name: members(change) for name, change in changes.items()}
    found, exact = (
        layer_columns([random_layers(dtype, **changes)], kind)
        for dtype in (torch.float32, torch.float64)
    )
    torch.testing.assert_close(found, exact, rtol=3e-6, atol=1e-15, equal_nan=True)


def test_dividing_layers_into_parts_changes_no_bit():
    kind = LayerKind(nn.Tanh(), 1.0, normalised=False, bias=True, weight_count=30)
    small = {"delta": lambda x: x * torch.tensor([1e-20, 1.0]).view(2, 1, 1, 1)}
    whole = random_layers(torch.float32, **small)
    parts = [
        LayerTensors(**{name: x[i : i + 1] for name, x in vars(whole).items()}) for i in range(2)
    ]
    assert torch.equal(layer_columns(parts, kind), layer_columns([whole], kind))
