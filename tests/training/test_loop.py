"""The loop agrees with single runs and with plain torch, and handles divergence and errors."""

import numpy as np
import pytest
import torch
from torch import nn

from gradlab import schema
from gradlab.errors import SettingsError
from gradlab.training.loop import Loop
from gradlab.training.minibatches import Batches
from gradlab.training.stack import Stack
from tests.configs import Memory, settings, train

FLOATS = [c.name for c in schema.STATISTICS]


def assert_same_rows(alone: Memory, stacked: Memory, rtol: float, atol: float = 0.0) -> None:
    assert len(alone.layers) == len(stacked.layers)
    for one, other in zip(alone.layers, stacked.layers, strict=True):
        for name in ("step", "position"):
            np.testing.assert_array_equal(one[name], other[name])
        for name in FLOATS:
            # An entry that is pure rounding error may be exactly 0 in one run only.
            loose = 0.01 if name == "grad_zeros" and atol else atol
            if name in ("preact_mean", "act_mean"):  # means near 0: compare with the std
                loose = max(loose, rtol * float(np.nanmax(one[name.replace("mean", "std")])))
            np.testing.assert_allclose(other[name], one[name], rtol, loose, err_msg=name)
    for name in ("step", "loss", "accuracy", "grad_norm", "clip_factor", "lr", "descent"):
        loose = 1e-4 if name == "descent" else rtol  # a small difference of large numbers
        np.testing.assert_allclose(stacked.steps(name), alone.steps(name), rtol=loose, err_msg=name)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("model", ["mlp", "resmlp"])
def test_members_have_the_same_results_in_a_stack_and_alone(model, norm):
    common = {
        "model": model,
        "model__norm": norm,
        "model__depth": 4,
        "model__width": 12,
        "model__activation": "tanh",
        "train__dtype": "float64",
        "train__steps": 50,
        "train__batch_size": 32,
        "record__every": 7,
        "optim": "adam",
    }
    members = [
        settings(**common, seed=0),
        settings(**common, seed=1, model__init="orthogonal", clip="norm"),
        settings(**common, seed=2, model__init="lsuv", clip="adaptive"),
        settings(**common, seed=3, model__init_gain=3.0, clip="value"),
        settings(**common, seed=0, clip="layer"),
        settings(**common, seed=1, optim__lr=0.003),
        settings(**common, seed=0, optim__lr=0.003, clip="norm"),
    ]
    loop, stacked = train(*members)
    held_out = loop.evaluate()
    for index, member in enumerate(members):
        alone, (sink,) = train(member)
        # Normalisation makes some numbers 0, such as the gradient of a bias before it. Their
        # rounding errors differ.
        atol = 0.0 if norm == "none" else 1e-14
        assert_same_rows(sink, stacked[index], rtol=1e-9, atol=atol)
        assert alone.evaluate()[0] == pytest.approx(held_out[index], rel=1e-9)
        torch.testing.assert_close(
            loop.stack.parameters.theta[index],
            alone.stack.parameters.theta[0],
            rtol=1e-9,
            atol=1e5 * atol,
        )


@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw", "rmsprop"])
def test_training_equals_a_plain_torch_loop(optim):
    run = settings(
        optim=optim,
        clip="norm",
        clip__max_norm=0.5,
        model__depth=2,
        model__width=9,
        train__dtype="float64",
        train__steps=12,
        seed=4,
    )
    dataset = run.data.call()
    loop, (sink,) = train(run, dataset=dataset)

    start = Stack([run], dataset)
    views = start.params
    plain = nn.Sequential(nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 10))
    with torch.no_grad():
        for param, view in zip(plain.double().parameters(), views.values(), strict=True):
            param.copy_(view[0])
    optimiser = run.optim.call(plain.parameters())
    batches = Batches(len(dataset.x_train), 64, [4])
    for step in range(12):
        index = batches.next()[0]
        loss = nn.functional.cross_entropy(plain(dataset.x_train[index]), dataset.y_train[index])
        assert sink.steps("loss")[step] == pytest.approx(loss.item(), rel=1e-8)
        optimiser.zero_grad()
        loss.backward()
        norm = float(nn.utils.get_total_norm([p.grad for p in plain.parameters()]))
        assert sink.steps("grad_norm")[step] == pytest.approx(norm, rel=1e-8)
        factor = min(1.0, 0.5 / norm)  # torch's clipping divides by norm + 1e-6
        assert sink.steps("clip_factor")[step] == pytest.approx(factor, rel=1e-8)
        for param in plain.parameters():
            param.grad *= factor
        optimiser.step()
    trained = torch.cat([p.detach().flatten() for p in plain.parameters()])
    torch.testing.assert_close(loop.stack.parameters.theta[0], trained, rtol=1e-7, atol=1e-10)


def test_a_member_that_diverges_stops_without_effect_on_others():
    common = {"model__depth": 3, "train__steps": 40, "train__dtype": "float64", "record__every": 8}
    stable = settings(**common, seed=1)
    diverging = settings(**common, seed=0, model__init="normal", model__init_gain=1e70)
    loop, (stable_sink, diverging_sink) = train(stable, diverging)
    _, (expected,) = train(stable)
    assert_same_rows(expected, stable_sink, rtol=1e-9)
    assert [outcome.status for outcome in loop.history.outcomes] == ["completed", "diverged"]
    assert loop.history.outcomes[1].first_nonfinite["where"] in ("forward", "backward", "loss")
    assert torch.isfinite(loop.stack.parameters.theta).all()
    assert len(diverging_sink.steps("step")) == loop.history.outcomes[1].steps < 40


def test_the_step_at_which_a_member_diverges_is_recorded():
    run = settings(
        model__depth=3,
        model__init="kaiming_normal",
        loss="mse",
        optim__lr=30.0,
        train__steps=200,
        record__every=50,
    )
    loop, (sink,) = train(run)
    (outcome,) = loop.history.outcomes
    assert outcome.status == "diverged"
    last = sink.layers[-1]
    step = int(last["step"][0])
    assert step % 50 != 0
    assert outcome.first_nonfinite["step"] == step == outcome.steps - 1 == sink.steps("step")[-1]
    assert outcome.first_nonfinite["position"] is not None
    assert [int(r["step"][0]) for r in sink.layers[:-1]] == list(range(0, step, 50))


def test_first_nonfinite_names_the_first_layer_that_overflows():
    # Each layer multiplies the signal by about 1e8, so float32 overflows at the fifth.
    gain = 1e8 / 8
    run = settings(
        model__depth=8,
        model__activation="identity",
        model__init="normal",
        model__init_gain=gain,
        train__steps=5,
    )
    loop, (sink,) = train(run)
    (outcome,) = loop.history.outcomes
    assert outcome.status == "diverged"
    assert outcome.steps == 1
    finite = np.isfinite(sink.layers[0]["preact_std"])
    assert outcome.first_nonfinite == {
        "step": 0,
        "where": "forward",
        "position": int(np.argmin(finite)) + 1,
        "module": f"layers.{int(np.argmin(finite))}",
    }
    assert outcome.first_nonfinite["position"] == 5


class Interrupting(Memory):
    """Raises an error when it receives a given step."""

    def __init__(self, step: int, error: type[BaseException]) -> None:
        super().__init__()
        self.step, self.error = step, error

    def write(self, rows):
        super().write(rows)
        if int(rows.steps["step"][-1]) == self.step:
            raise self.error


def test_a_requested_stop_ends_as_interrupted_with_every_step():
    run = settings(model__depth=2, train__steps=50, record__every=10)
    sink = Memory()
    loop = Loop([run], run.data.call(), [[sink]])
    answers = iter([False] * 23 + [True])
    (outcome,) = loop.run(stop=lambda: next(answers))
    assert (outcome.status, outcome.steps) == ("interrupted", 24)
    assert sink.steps("step") == list(range(24))


def test_ctrl_c_is_raised_after_every_step_was_written():
    run = settings(model__depth=2, train__steps=50, record__every=10)
    sink = Interrupting(20, KeyboardInterrupt)
    loop = Loop([run], run.data.call(), [[sink]])
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert loop.history.outcomes[0].status == "interrupted"
    assert sink.steps("step") == list(range(21))


def test_an_error_ends_as_failed_and_is_raised():
    run = settings(model__depth=2, train__steps=50, record__every=10)
    sink = Interrupting(10, ZeroDivisionError)
    loop = Loop([run], run.data.call(), [[sink]])
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert loop.history.outcomes[0].status == "failed"
    assert sink.steps("step") == list(range(11))


def test_scaling_loss_and_learning_rate_inversely_gives_the_same_training():
    common = {"model__depth": 3, "train__dtype": "float64", "train__steps": 30}
    (_, (one,)) = train(settings(**common))
    (_, (scaled,)) = train(settings(**common, loss__scale=1e-9, optim__lr=0.1 * 1e9))
    np.testing.assert_allclose(scaled.steps("loss"), np.array(one.steps("loss")) * 1e-9, rtol=1e-9)
    np.testing.assert_allclose(scaled.steps("accuracy"), one.steps("accuracy"))
    for a, b in zip(one.layers, scaled.layers, strict=True):
        np.testing.assert_allclose(b["act_factor"], a["act_factor"], rtol=1e-9)
        np.testing.assert_allclose(b["update_ratio"], a["update_ratio"], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_dtype_starts_from_the_same_weights(dtype):
    runs = [
        settings(model__depth=2, train__dtype=d, train__steps=3, record__every=1)
        for d in (dtype, "float64")
    ]
    (loop, (sink,)), (_, (exact,)) = (train(run) for run in runs)
    assert loop.stack.parameters.theta.dtype == getattr(torch, dtype)
    tolerance = 4 * torch.finfo(getattr(torch, dtype)).eps
    assert sink.steps("loss")[0] == pytest.approx(exact.steps("loss")[0], rel=tolerance)
    norms = [s.layers[0]["weight_norm"] for s in (sink, exact)]
    np.testing.assert_allclose(*norms, rtol=tolerance)


def test_members_of_different_shapes_are_refused():
    members = [settings(model__depth=2), settings(model__depth=3)]
    with pytest.raises(SettingsError, match="members of a stack"):
        train(*members)


def test_a_missing_gpu_is_named():
    with pytest.raises(SettingsError, match="cuda:7 is not there"):
        train(settings(train__device="cuda:7"))


def test_an_epoch_uses_every_sample_at_most_once():
    batches = Batches(10, 3, seeds=[5, 6])
    epochs = [[batches.next() for _ in range(3)] for _ in range(2)]
    for epoch in epochs:
        for member in torch.cat(epoch, dim=1):
            assert len(set(member.tolist())) == 9
    assert not torch.equal(epochs[0][0], epochs[1][0])
    again = Batches(10, 3, seeds=[6])
    assert torch.equal(again.next()[0], epochs[0][0][1])


def test_batches_and_initialisation_use_different_random_numbers():
    start = torch.randperm(1000, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(Batches(1000, 1000, [3]).next()[0], start)


def quadratic(lr, **overrides):
    """Return a linear regression on the whole data set, and the Hessian of its loss."""
    run = settings(
        data="diabetes",
        loss="mse",
        model__depth=0,
        optim__lr=lr,
        train__batch_size=353,
        train__dtype="float64",
        **overrides,
    )
    dataset = run.data.call()
    x = np.hstack([dataset.x_train.numpy(), np.ones((353, 1))])
    return run, 2 * x.T @ x / 353, dataset


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.4])
def test_descent_is_one_minus_half_the_learning_rate_times_the_curvature(lr):
    run, hessian, dataset = quadratic(lr, train__steps=1)
    stack = Stack([run], dataset)
    theta = stack.parameters.theta.numpy()[0]  # weights, then the bias
    x = np.hstack([dataset.x_train.numpy(), np.ones((353, 1))])
    g = 2 * x.T @ (x @ theta - dataset.y_train.numpy()[:, 0]) / 353
    _, (sink,) = train(run)
    expected = 1 - lr * (g @ hessian @ g) / (g @ g) / 2
    assert sink.steps("descent") == pytest.approx([expected], rel=1e-9)


@pytest.mark.parametrize(("fraction", "sign"), [(0.5, 1), (0.98, 1), (1.02, -1)])
def test_descent_changes_sign_at_the_edge_of_stability(fraction, sign):
    _, hessian, _ = quadratic(1.0)
    edge = 2 / np.linalg.eigvalsh(hessian).max()
    run, _, _ = quadratic(fraction * edge, train__steps=401)
    _, (sink,) = train(run)
    descent = np.array(sink.steps("descent"))
    assert np.isnan(descent[1:10]).all()
    descent = descent[np.isfinite(descent)]
    assert np.sign(descent[-1]) == sign


def test_descent_is_null_below_rounding_error():
    run = settings(optim__lr=1e-12, train__steps=3, record__every=1)
    _, (sink,) = train(run)
    assert np.isnan(sink.steps("descent")).all()


def test_recording_does_not_change_running_statistics():
    common = {"model__norm": "batch", "train__steps": 12}
    often, _ = train(settings(**common, record__every=1))
    seldom, _ = train(settings(**common, record__every=1000))
    for name, buffer in often.stack.buffers.items():
        assert torch.equal(buffer, seldom.stack.buffers[name]), name
    assert torch.equal(often.stack.parameters.theta, seldom.stack.parameters.theta)
