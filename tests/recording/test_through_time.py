"""Rows of time steps, cells and blocks agree with autograd on networks written as equations."""

import numpy as np
import pytest
import torch

from gradlab import schema
from gradlab.training.minibatches import Batches
from gradlab.training.stack import Stack
from tests.configs import settings, train
from tests.training.test_loop import assert_same_rows

COMMON = {
    "train__dtype": "float64",
    "train__steps": 1,
    "train__batch_size": 9,
    "model__width": 7,
    "model__depth": 2,
    "seed": 3,
}
ADDING = {"data": "adding", "loss": "mse", "data__length": 6, "data__samples": 200}
COPYING = {"data": "copying", "data__delay": 2, "data__copied": 2, "data__samples": 200}


def rnn(W, V, b, x, keep):
    h = torch.zeros(x.shape[0], V.shape[1], dtype=x.dtype)
    for t in range(x.shape[1]):
        before = h
        y = keep(V @ before.T).T
        z = W @ x[:, t].T + b[:, None] + y.T
        h = keep(torch.tanh(z).T)
        yield before, y, z.T, h


def lstm(W, V, b, x, keep):
    n = V.shape[1]
    h = c = torch.zeros(x.shape[0], n, dtype=x.dtype)
    for t in range(x.shape[1]):
        before = h
        y = keep(before @ V.T)
        z = x[:, t] @ W.T + b + y
        i, f, g, o = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n], z[:, 3 * n :]
        c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
        h = keep(torch.sigmoid(o) * torch.tanh(c))
        yield before, y, z, h


def gru(W, V, b, x, keep):
    n = V.shape[1]
    h = torch.zeros(x.shape[0], n, dtype=x.dtype)
    for t in range(x.shape[1]):
        before = h
        y = keep(before @ V.T)
        z = x[:, t] @ W.T + b
        r = torch.sigmoid(z[:, :n] + y[:, :n])
        u = torch.sigmoid(z[:, n : 2 * n] + y[:, n : 2 * n])
        g = z[:, 2 * n :] + r * y[:, 2 * n :]
        h = keep(u * before + (1 - u) * torch.tanh(g))
        yield before, y, torch.cat([z[:, : 2 * n] + y[:, : 2 * n], g], 1), h


def norm(x):
    return float(x.square().sum().sqrt())


def by_hand(run, cell):
    """Return the rows of the axis time at step 0, by autograd through the equations of a cell."""
    dataset = run.data.call()
    stack = Stack([run], dataset)
    params = {name: p[0].detach().clone() for name, p in stack.params.items()}
    index = Batches(len(dataset.x_train), run.train.batch_size, [run.seed]).next()[0]
    x, y = dataset.x_train[index].unflatten(-1, dataset.shape), dataset.y_train[index]

    def leaf(tensor):
        return tensor.requires_grad_() if tensor.grad_fn is None else tensor

    layers = []
    h = x.requires_grad_()
    for l in range(run.model.depth):
        V = params[f"layers.{l}.recurrent.weight"].requires_grad_()
        W, b = (params[f"layers.{l}.linear.{name}"] for name in ("weight", "bias"))
        steps = list(cell(W, V, b, h, leaf))
        layers.append((V, h, steps))
        h = torch.stack([step[3] for step in steps], 1)
    out = h[:, -1] if dataset.target_steps is None else h[:, -dataset.target_steps :]
    last = f"layers.{run.model.depth}.linear"
    out = out @ params[f"{last}.weight"].T + params[f"{last}.bias"]
    loss = run.loss.component.call(out, y)
    rows = []
    for V, h_in, steps in layers:
        wanted = [V, h_in, *[s[1] for s in steps], *[s[3] for s in steps]]
        grads = torch.autograd.grad(loss, wanted, retain_graph=True)
        dV, deltas, dhs = grads[0], grads[2 : 2 + len(steps)], grads[2 + len(steps) :]
        rows.append([])
        total = torch.zeros_like(V)
        for (before, _, z, h_t), delta, dh in zip(steps, deltas, dhs, strict=True):
            added = delta.T @ before.detach()
            total += added
            rows[-1].append(
                {
                    "delta_norm": norm(delta),
                    "act_grad_norm": norm(dh),
                    "act_factor": norm(delta) / norm(dh),
                    "weight_factor": norm(delta @ V.detach()) / norm(delta),
                    "weight_grad_norm": norm(added),
                    "preact_mean": float(z.detach().mean()),
                    "preact_std": float(z.detach().std(correction=0)),
                    "act_mean": float(h_t.detach().mean()),
                    "act_std": float(h_t.detach().std(correction=0)),
                    "weight_norm": norm(V.detach()),
                    "weight_count": V.numel(),
                }
            )
        torch.testing.assert_close(total, dV)  # the sum over steps is the whole gradient
    return rows


@pytest.mark.parametrize("task", [ADDING, COPYING], ids=["adding", "copying"])
@pytest.mark.parametrize("cell", [rnn, lstm, gru])
def test_every_time_step_equals_autograd_on_the_equations(cell, task):
    run = settings(model=cell.__name__, **task, **COMMON)
    _, (sink,) = train(run)
    (table,) = sink.layers
    axis, module = np.array(table["axis"]), np.array(table["module"])
    for l, steps in enumerate(by_hand(run, cell)):
        indices = np.flatnonzero((axis == "time") & (module == f"layers.{l}"))
        assert list(table["position"][indices]) == list(range(1, len(steps) + 1))
        for row, expected in zip(indices, steps, strict=True):
            for name, value in expected.items():
                assert table[name][row] == pytest.approx(value, rel=1e-9, abs=1e-15), name
    assert (axis == "depth").sum() == 3


def rows_at(table, axis, module):
    rows = (np.array(table["axis"]) == axis) & (np.array(table["module"]) == module)
    return {name: np.array(values)[rows] for name, values in table.items()}


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_the_product_of_the_factors_of_all_steps_is_the_gradient_of_the_first(model, norm):
    run = settings(
        model=model, **ADDING, **{**COMMON, "model__depth": 1, "train__steps": 5},
        model__norm=norm, record__every=2,
    )  # fmt: skip
    _, (sink,) = train(run)
    assert len(sink.layers) == 3
    for table in sink.layers:
        steps = rows_at(table, "time", "layers.0")
        factors = steps["act_factor"] * steps["norm_factor"] * steps["weight_factor"]
        passed_back = steps["act_grad_norm"][1:] * factors[1:]
        np.testing.assert_allclose(steps["act_grad_norm"][:-1], passed_back, rtol=1e-10)
        product = steps["act_grad_norm"][-1] * np.prod(factors[1:])
        assert steps["act_grad_norm"][0] == pytest.approx(product, rel=1e-9)
        assert (norm == "none") == bool((steps["norm_factor"] == 1).all())


def test_on_the_axis_depth_a_recurrent_layer_joins_the_weights_of_input_and_state():
    run = settings(model="rnn", **ADDING, **COMMON)
    loop, (sink,) = train(run)
    stack = Stack([run], loop.minibatches.dataset)
    weights = {name: p[0].detach() for name, p in stack.params.items()}
    after = {name: p[0].detach() for name, p in loop.stack.params.items()}
    row = rows_at(sink.layers[0], "depth", "layers.1")
    names = [f"layers.1.{name}.weight" for name in ("linear", "recurrent")]
    both, changed = (torch.cat([w[name] for name in names], 1) for w in (weights, after))
    assert row["weight_count"] == 2 * 7 * 7
    assert row["weight_norm"] == pytest.approx(norm(both))
    assert row["weight_grad_norm"] == pytest.approx(norm(changed - both) / 0.1, rel=1e-9)
    # All steps are samples: the squares of their norms sum to the square of the layer's norm.
    steps = rows_at(sink.layers[0], "time", "layers.1")
    for name in ("delta_norm", "act_grad_norm"):
        assert row[name] == pytest.approx(np.sqrt((steps[name] ** 2).sum()), rel=1e-12)
    assert row["preact_mean"] == pytest.approx(steps["preact_mean"].mean(), rel=1e-9)
    assert row["saturated"] == pytest.approx(steps["saturated"].mean())


@pytest.mark.parametrize("model", ["cnn", "rnn", "lstm", "gru", "transformer"])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_members_have_the_same_rows_in_a_stack_and_alone(model, norm):
    common = {**COMMON, "model": model, "model__norm": norm, "train__steps": 12, "model__width": 8}
    common |= {"record__every": 5, "optim": "adam"}
    members = [
        settings(**{**common, "seed": 0}),
        settings(**{**common, "seed": 1}, clip="norm", model__init="orthogonal"),
        settings(**{**common, "seed": 2}, clip="adaptive", model__init="lecun_normal"),
    ]
    _, stacked = train(*members)
    for index, member in enumerate(members):
        _, (sink,) = train(member)
        assert_same_rows(sink, stacked[index], rtol=1e-8, atol=1e-14)
        assert sink.rows[0].layers["axis"] == stacked[index].rows[0].layers["axis"]


@pytest.mark.parametrize("model", ["cnn", "rnn", "lstm", "gru", "transformer"])
def test_recording_never_changes_training(model):
    runs = [settings(model=model, train__steps=12, record__every=every) for every in (1, 1000)]
    often, never = (train(run)[0] for run in runs)
    assert torch.equal(often.stack.parameters.theta, never.stack.parameters.theta)


def test_positions_of_a_convolution_count_as_samples():
    run = settings(model="cnn", model__activation="tanh", **{**COMMON, "model__depth": 3})
    loop, (sink,) = train(run)
    table = sink.layers[0]
    passed_back = table["weight_factor"][1:] * table["delta_norm"][1:]
    np.testing.assert_allclose(table["act_grad_norm"][:-1], passed_back, rtol=1e-12)
    stack = Stack([run], loop.minibatches.dataset)
    layers, seen = stack.model.layers, []
    layers[1].linear.register_forward_hook(lambda m, i, z: seen.append(z))
    index = loop.minibatches.index_MB[0]
    output = stack.model(loop.minibatches.dataset.x_train[index])
    (z,) = seen
    loss = run.loss.component.call(output, loop.minibatches.dataset.y_train[index])
    (delta,) = torch.autograd.grad(loss, z)
    assert z.shape == (9, 64, 7)
    assert table["delta_norm"][1] == pytest.approx(norm(delta), rel=1e-12)
    assert table["preact_mean"][1] == pytest.approx(float(z.detach().mean()), rel=1e-9)


@pytest.mark.parametrize("model", ["resmlp", "transformer"])
def test_a_block_row_has_the_output_and_the_gain_between_two_streams(model):
    run = settings(model=model, **{**COMMON, "model__width": 8, "model__depth": 3})
    loop, (sink,) = train(run)
    stack = Stack([run], loop.minibatches.dataset)
    seen = []
    for stream in stack.model.streams:
        stream.register_forward_hook(lambda m, i, h: seen.append(h))
    index = loop.minibatches.index_MB[0]
    output = stack.model(loop.minibatches.dataset.x_train[index])
    loss = run.loss.component.call(output, loop.minibatches.dataset.y_train[index])
    grads = [norm(g) for g in torch.autograd.grad(loss, seen)]
    blocks = [rows_at(sink.layers[0], "block", f"streams.{l}") for l in range(1, len(seen))]
    assert len(blocks) == (2 if model == "resmlp" else 3)
    for l, row in enumerate(blocks, start=1):
        assert list(row["position"]) == [l]
        assert row["act_grad_norm"] == pytest.approx(grads[l], rel=1e-10)
        assert row["weight_factor"] == pytest.approx(grads[l - 1] / grads[l], rel=1e-10)
        assert row["act_std"] == pytest.approx(float(seen[l].detach().std(correction=0)), rel=1e-9)
        known = ("act_grad_norm", "act_mean", "act_std", "weight_factor")
        rest = [c.name for c in schema.STATISTICS if c.name not in known]
        assert all(np.isnan(row[name]).all() for name in rest)


def cells_by_hand(run):
    """Return c_t, dLoss/dc_t and σ(f_t) dLoss/dc_t of an LSTM of one layer, for each step."""
    dataset, stack = run.data.call(), Stack([run], run.data.call())
    p = {name: q[0].detach() for name, q in stack.params.items()}
    index = Batches(len(dataset.x_train), run.train.batch_size, [run.seed]).next()[0]
    x, y = dataset.x_train[index].unflatten(-1, dataset.shape), dataset.y_train[index]
    V, W, b = (p[f"layers.0.{n}"] for n in ("recurrent.weight", "linear.weight", "linear.bias"))
    h = c = torch.zeros(len(x), V.shape[1], dtype=x.dtype)
    cells, forgets, outs = [], [], []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ W.T + b + h @ V.T).chunk(4, 1)
        forget = torch.sigmoid(f + run.model.component.params["forget_bias"])
        c = forget * c + torch.sigmoid(i) * torch.tanh(g)
        c = c.requires_grad_() if t == 0 else c
        h = torch.sigmoid(o) * torch.tanh(c)
        for values, new in ((cells, c), (forgets, forget.detach()), (outs, h)):
            values.append(new)
    out = (
        outs[-1] if dataset.target_steps is None else torch.stack(outs[-dataset.target_steps :], 1)
    )
    loss = run.loss.component.call(
        out @ p["layers.1.linear.weight"].T + p["layers.1.linear.bias"], y
    )
    grads = torch.autograd.grad(loss, cells)
    return [(c.detach(), d, f * d) for c, d, f in zip(cells, grads, forgets, strict=True)]


@pytest.mark.parametrize("task", [ADDING, COPYING], ids=["adding", "copying"])
@pytest.mark.parametrize("more", [{}, {"model__forget_bias": 3.0}])
def test_the_cell_of_an_lstm_has_rows_on_the_axis_cell(task, more):
    runs = [
        settings(model="lstm", **task, **{**COMMON, "model__depth": 1, "seed": seed}, **more)
        for seed in (3, 4)
    ]
    for members in ([runs[0]], runs):  # alone and in a stack
        _, sinks = train(*members)
        for run, sink in zip(members, sinks, strict=True):
            row, expected = rows_at(sink.layers[0], "cell", "layers.0"), cells_by_hand(run)
            assert list(row["position"]) == list(range(1, len(expected) + 1))
            for t, (c, d, straight) in enumerate(expected):
                assert row["act_grad_norm"][t] == pytest.approx(norm(d), rel=1e-10)
                assert row["weight_factor"][t] == pytest.approx(norm(straight) / norm(d), rel=1e-10)
                assert row["act_mean"][t] == pytest.approx(float(c.mean()), rel=1e-9)
                assert row["act_std"][t] == pytest.approx(float(c.std(correction=0)), rel=1e-9)
            known = ("act_grad_norm", "act_mean", "act_std", "weight_factor")
            rest = [c.name for c in schema.STATISTICS if c.name not in known]
            assert all(np.isnan(row[name]).all() for name in rest)


@pytest.mark.parametrize("norm_of", ["none", "layer"])
def test_the_cell_of_a_gru_is_its_state(norm_of):
    run = settings(model="gru", model__norm=norm_of, **ADDING, **{**COMMON, "model__depth": 1})
    _, (sink,) = train(run)
    state, cell = (rows_at(sink.layers[0], axis, "layers.0") for axis in ("time", "cell"))
    for name in ("act_grad_norm", "act_mean", "act_std"):
        np.testing.assert_allclose(state[name], cell[name], rtol=1e-12)
    # σ(u) is about 1/2 at initialisation.
    assert (abs(cell["weight_factor"] - 0.5) < 0.1).all()


@pytest.mark.parametrize("model", ["rnn", "mlp"])
def test_networks_without_gates_have_no_rows_on_the_axis_cell(model):
    _, (sink,) = train(settings(model=model, **ADDING, **COMMON))
    assert "cell" not in set(sink.layers[0]["axis"])


def test_saturated_and_dead_are_null_for_gates():
    _, (sink,) = train(settings(model="lstm", **ADDING, **COMMON))
    for axis in ("depth", "time"):
        row = rows_at(sink.layers[0], axis, "layers.0")
        assert np.isnan(row["saturated"]).all()
        assert np.isnan(row["dead"]).all()


def test_divergence_through_time_is_located_on_the_axis_depth():
    run = settings(
        model="rnn", model__activation="identity", model__init="orthogonal",
        model__spectral_radius=1e6, **{**ADDING, "data__length": 20}, train__steps=3,
    )  # fmt: skip
    loop, (sink,) = train(run)
    assert loop.history.outcomes[0].status == "diverged"
    first = loop.history.outcomes[0].first_nonfinite
    assert (first["where"], first["module"]) == ("forward", "layers.0")
    assert set(sink.layers[-1]["axis"]) == {"depth", "time"}
