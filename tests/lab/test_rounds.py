"""Where gradients are whole: accumulation, scaling, clipping, closures, several optimisers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import gradlab
from tests.lab.loops import batches, error_signals, gradients, loss_of, mlp, train

cross_entropy = nn.functional.cross_entropy


def norms(lab, column="weight_grad_norm", step=0):
    frame = lab.frame()
    return frame[frame["step"] == step][column].to_numpy()


def of_weights(found):
    return [float(g.norm()) for name, g in found.items() if name.endswith("weight")]


def test_gradients_and_signals_are_those_of_autograd():
    model, data = mlp(), batches(1)
    (x, y), *_ = data
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    signals = error_signals(model, lambda z: cross_entropy(z, y), x)
    biases = [float(g.norm()) for name, g in expected.items() if name.endswith("bias")]
    with gradlab.watch(model, (optimizer := torch.optim.SGD(model.parameters(), 0.1))) as lab:
        before = [p.detach().clone() for p in model.parameters()]
        train(model, optimizer, data)
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-6)
    np.testing.assert_allclose(norms(lab, "bias_grad_norm"), biases, rtol=1e-6)
    np.testing.assert_allclose(norms(lab, "delta_norm"), signals, rtol=1e-6)
    after = [p.detach() for p in model.parameters()]
    moved = [(a - b).norm() / b.norm() for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(norms(lab, "update_ratio"), moved[::2], rtol=1e-5)
    whole = torch.cat([g.flatten() for g in expected.values()]).norm()
    assert lab.steps()["grad_norm"][0] == pytest.approx(float(whole), rel=1e-6)
    twin = mlp()
    assert lab.steps()["loss"][0] == pytest.approx(loss_of(twin, data[0]).item(), rel=1e-6)


@pytest.mark.parametrize("parts", [1, 4])
def test_accumulated_micro_batches_are_one_batch(parts):
    model, data = mlp(), batches(parts, 8)
    x, y = (torch.cat([batch[i] for batch in data]) for i in (0, 1))
    expected = gradients(model, lambda m: loss_of(m, (x, y)))
    signals = error_signals(model, lambda z: cross_entropy(z, y), x)
    z = model[0](x).detach()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as lab:
        for batch in data:
            (loss_of(model, batch) / parts).backward()
        optimizer.step()
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-5)
    np.testing.assert_allclose(norms(lab, "delta_norm"), signals, rtol=1e-5)
    assert norms(lab, "preact_std")[0] == pytest.approx(float(z.std(correction=0)), rel=1e-5)
    assert norms(lab, "preact_mean")[0] == pytest.approx(float(z.mean()), rel=1e-5)
    assert len(lab.steps()) == 1
    assert lab.steps()["loss"][0] == pytest.approx(loss_of(mlp(), (x, y)).item(), rel=1e-5)


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaled_loss_gives_the_same_rows(unscale, fused):
    model, data = mlp(), batches(3)
    plain = copy.deepcopy(model)
    with gradlab.watch(plain, (ordinary := torch.optim.Adam(plain.parameters()))) as expected:
        train(plain, ordinary, data)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with gradlab.watch(model, optimizer) as lab:
        for batch in data:
            optimizer.zero_grad()
            scaler.scale(loss_of(model, batch)).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    numbers = lab.frame().select_dtypes("float64")
    expected_numbers = expected.frame().select_dtypes("float64")
    np.testing.assert_allclose(numbers, expected_numbers, rtol=2e-4, equal_nan=True)
    assert not numbers["delta_norm"].isna().any()
    np.testing.assert_allclose(lab.steps()["loss"], expected.steps()["loss"], rtol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_leaves_nothing(fused):
    model, data = mlp(), batches(3)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    expected = gradients(model, lambda m: loss_of(m, data[1]))
    with gradlab.watch(model, optimizer) as lab:
        for index, batch in enumerate(data):
            optimizer.zero_grad()
            loss = loss_of(model, batch) * (torch.inf if index == 0 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert lab.frame()["step"].unique().tolist() == [0, 1]
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-4)
    signals = error_signals(mlp(), lambda z: cross_entropy(z, data[1][1]), data[1][0])
    np.testing.assert_allclose(norms(lab, "delta_norm"), signals, rtol=1e-4)
    assert np.isfinite(lab.steps()["loss"]).all()
    assert lab.notes == ["1 step was skipped by a GradScaler, and is not in the record"]


def test_gradients_are_read_before_they_are_clipped():
    model, data = mlp(), batches(2)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    size = float(torch.cat([g.flatten() for g in expected.values()]).norm())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as lab:
        for batch in data:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), size / 10)
            optimizer.step()
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-6)
    first = lab.steps().iloc[0]
    assert first["grad_norm"] == pytest.approx(size, rel=1e-6)
    assert first["clip_factor"] == pytest.approx(0.1, rel=1e-3)


def test_clipping_by_value_and_by_an_early_import():
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_

    model, data = mlp(), batches(1)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as lab:
        loss_of(model, data[0]).backward()
        clip_grad_norm_(model.parameters(), 1e-3)
        torch.nn.utils.clip_grad_value_(model.parameters(), 1e-5)
        optimizer.step()
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-6)
    assert 0 < lab.steps()["clip_factor"][0] < 1e-2
    assert clip_grad_value_ is torch.nn.utils.clip_grad_value_  # put back


def test_several_optimisers_make_one_step():
    model, data = mlp(), batches(3)
    halves = [list(model.parameters())[:2], list(model.parameters())[2:]]
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    optimizers = [torch.optim.SGD(half, 0.1) for half in halves]
    with gradlab.watch(model, optimizers) as lab:
        for batch in data:
            model.zero_grad()
            loss_of(model, batch).backward()
            for optimizer in optimizers:
                optimizer.step()
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-6)
    assert lab.frame()["step"].unique().tolist() == [0, 1, 2]
    assert (lab.frame()["update_ratio"] > 0).all()


def test_an_optimiser_that_steps_more_often_begins_a_new_step():
    model, data = mlp(), batches(4)
    often, seldom = (
        torch.optim.SGD(half, 0.1) for half in (model[0].parameters(), model[5].parameters())
    )
    with gradlab.watch(model, [often, seldom]) as lab:
        for index, batch in enumerate(data):
            model.zero_grad()
            loss_of(model, batch).backward()
            often.step()
            if index == 3:
                seldom.step()
    assert lab.frame()["step"].unique().tolist() == [0, 1, 2, 3]
    alone = copy.deepcopy(mlp())
    for step, (x, y) in enumerate(data):
        signals = error_signals(alone, lambda z, y=y: cross_entropy(z, y), x)
        np.testing.assert_allclose(norms(lab, "delta_norm", step), signals, rtol=1e-5)
        found = gradients(alone, lambda m, b=(x, y): loss_of(m, b))
        with torch.no_grad():
            for name, p in alone[0].named_parameters():
                p -= 0.1 * found[f"0.{name}"]


def test_adversaries_alternate_in_one_step():
    torch.manual_seed(0)
    both = nn.ModuleDict({"g": nn.Linear(2, 6), "d": nn.Linear(6, 1)})
    of_g, of_d = (torch.optim.SGD(both[k].parameters(), 0.1) for k in "gd")
    with gradlab.watch(both, [of_d, of_g]) as lab:
        for _ in range(2):
            z = torch.randn(5, 2)
            of_d.zero_grad()
            both["d"](both["g"](z).detach()).mean().backward()
            of_d.step()
            of_g.zero_grad()
            (-both["d"](both["g"](z)).mean()).backward()
            of_g.step()
    assert lab.frame()["step"].tolist() == [0, 0, 1, 1]
    assert lab.frame()[["weight_grad_norm", "delta_norm", "update_ratio"]].notna().all(axis=None)


@pytest.mark.parametrize("keyword", [False, True])
def test_a_closure_is_heard(keyword):
    model, data = mlp(), batches(2)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    plain = mlp()
    reference = torch.optim.LBFGS(plain.parameters(), max_iter=4)

    def run(model, optimizer):
        for batch in data:

            def closure(batch=batch):
                optimizer.zero_grad()
                loss = loss_of(model, batch)
                loss.backward()
                return loss

            optimizer.step(closure=closure) if keyword else optimizer.step(closure)

    with gradlab.watch(model, optimizer) as lab:
        run(model, optimizer)
    run(plain, reference)
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-6)
    assert len(lab.steps()) == 2
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_optimiser_of_the_model_is_found():
    model, other, data = mlp(), nn.Linear(6, 3), batches(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    elsewhere = torch.optim.SGD(other.parameters(), 0.1)
    with gradlab.watch(model) as lab:
        for batch in data:
            train(other, elsewhere, [batch])
            train(model, optimizer, [batch])
    assert lab.frame()["step"].unique().tolist() == [0, 1, 2]
    expected = gradients(mlp(), lambda m: loss_of(m, data[0]))
    np.testing.assert_allclose(norms(lab), of_weights(expected), rtol=1e-6)
    assert lab.steps()["loss"][0] == pytest.approx(loss_of(mlp(), data[0]).item(), rel=1e-6)


def test_frozen_unused_and_forgotten_parameters():
    model, data = mlp(), batches(2)
    model.append(nn.Linear(3, 3))
    model.spare = nn.Linear(2, 2)
    model.forward = lambda x: nn.Sequential.forward(model[:7], x)
    model[0].requires_grad_(False)
    held = [*model[3].parameters(), *model[5].parameters(), *model.spare.parameters()]
    optimizer = torch.optim.SGD([{"params": held[:2], "lr": 0.5}, {"params": held[2:]}], 0.1)
    with gradlab.watch(model, optimizer) as lab:
        train(model, optimizer, data)
    rows = lab.frame()[lab.frame()["step"] == 0].set_index("site")
    assert rows.loc["0", ["weight_grad_norm", "update_ratio"]].isna().all()  # frozen
    assert rows.loc["spare", ["weight_grad_norm", "delta_norm"]].isna().all()  # unused
    assert rows.loc["6", "weight_grad_norm"] > 0  # in no optimiser:
    assert rows.loc["6", "update_ratio"] == 0
    size = torch.tensor([model[3].weight.numel()])
    assert rows.loc["3", "weight_count"] == size
    ratio = rows.loc[["3", "5"], "update_ratio"] / rows.loc[["3", "5"], "weight_grad_norm"]
    rate = ratio * rows.loc[["3", "5"], "weight_norm"]
    np.testing.assert_allclose(rate, [0.5, 0.1], rtol=1e-5)
    assert lab.steps()["lr"].tolist() == [0.5, 0.5]


def test_records_lie_where_they_are_asked_for():
    model, data = mlp(), batches(25)
    for every, expected in ((10, [0, 10, 20]), ("log", [0, 1, 2, 3, 4, 6, 7, 8, 10, 13, 16, 20])):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with gradlab.watch(model, optimizer, every=every) as lab:
            train(model, optimizer, data)
        assert lab.steps()["step"].tolist() == expected
        assert lab.frame()["delta_norm"].notna().all()


def test_another_network_in_the_loop_is_none_of_its_business():
    model, other, data = mlp(), nn.Linear(6, 3), batches(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    elsewhere = torch.optim.SGD(other.parameters(), 0.1)
    plain = mlp()
    of_plain = torch.optim.SGD(plain.parameters(), 0.1)
    scalers = [torch.amp.GradScaler("cpu", init_scale=scale) for scale in (2.0**127, 16.0)]
    with gradlab.watch(plain, of_plain) as expected:
        train(plain, of_plain, data)
    with gradlab.watch(model, optimizer) as lab:
        for batch in data:
            for net, its, scaler in zip(
                (other, model), (elsewhere, optimizer), scalers, strict=True
            ):  # the steps of the other network are skipped
                its.zero_grad()
                scaler.scale(loss_of(net, batch)).backward()
                torch.nn.utils.clip_grad_norm_(other.parameters(), 1e-6)
                scaler.step(its)
                scaler.update()
    assert lab.notes == []
    numbers = lab.frame().select_dtypes("float64")
    wanted = expected.frame().select_dtypes("float64")
    np.testing.assert_allclose(numbers, wanted, rtol=2e-4, equal_nan=True)
    for column in ("loss", "grad_norm", "clip_factor"):
        np.testing.assert_allclose(lab.steps()[column], expected.steps()[column], rtol=1e-4)
