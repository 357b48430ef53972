"""Gradients are read when complete: accumulation, scaling, clipping, several optimisers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import gradlab
from gradlab.results.nullable import numpy_floats
from tests.monitor.loops import batches, error_signals, gradients, loss_of, mlp, train

cross_entropy = nn.functional.cross_entropy


def norms(monitor, column="weight_grad_norm", step=0):
    frame = monitor.frame()
    return frame[frame["step"] == step][column].to_numpy()


def weight_norms(grads):
    return [float(g.norm()) for name, g in grads.items() if name.endswith("weight")]


def test_gradients_and_signals_equal_autograd():
    model, data = mlp(), batches(1)
    (x, y), *_ = data
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    signals = error_signals(model, lambda z: cross_entropy(z, y), x)
    biases = [float(g.norm()) for name, g in expected.items() if name.endswith("bias")]
    with gradlab.watch(model, (optimizer := torch.optim.SGD(model.parameters(), 0.1))) as monitor:
        before = [p.detach().clone() for p in model.parameters()]
        train(model, optimizer, data)
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    np.testing.assert_allclose(norms(monitor, "bias_grad_norm"), biases, rtol=1e-6)
    np.testing.assert_allclose(norms(monitor, "delta_norm"), signals, rtol=1e-6)
    after = [p.detach() for p in model.parameters()]
    moved = [(a - b).norm() / b.norm() for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(norms(monitor, "update_ratio"), moved[::2], rtol=1e-5)
    whole = torch.cat([g.flatten() for g in expected.values()]).norm()
    assert monitor.steps()["grad_norm"][0] == pytest.approx(float(whole), rel=1e-6)
    twin = mlp()
    assert monitor.steps()["loss"][0] == pytest.approx(loss_of(twin, data[0]).item(), rel=1e-6)


@pytest.mark.parametrize("parts", [1, 4])
def test_accumulated_micro_batches_equal_one_batch(parts):
    model, data = mlp(), batches(parts, 8)
    x, y = (torch.cat([batch[i] for batch in data]) for i in (0, 1))
    expected = gradients(model, lambda m: loss_of(m, (x, y)))
    signals = error_signals(model, lambda z: cross_entropy(z, y), x)
    z = model[0](x).detach()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        for batch in data:
            (loss_of(model, batch) / parts).backward()
        optimizer.step()
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-5)
    np.testing.assert_allclose(norms(monitor, "delta_norm"), signals, rtol=1e-5)
    assert norms(monitor, "preact_std")[0] == pytest.approx(float(z.std(correction=0)), rel=1e-5)
    assert norms(monitor, "preact_mean")[0] == pytest.approx(float(z.mean()), rel=1e-5)
    assert len(monitor.steps()) == 1
    assert monitor.steps()["loss"][0] == pytest.approx(loss_of(mlp(), (x, y)).item(), rel=1e-5)


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaled_loss_gives_the_same_rows(unscale, fused):
    model, data = mlp(), batches(3)
    plain = copy.deepcopy(model)
    with gradlab.watch(plain, (ordinary := torch.optim.Adam(plain.parameters()))) as expected:
        train(plain, ordinary, data)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with gradlab.watch(model, optimizer) as monitor:
        for batch in data:
            optimizer.zero_grad()
            scaler.scale(loss_of(model, batch)).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    numbers = numpy_floats(monitor.frame()).select_dtypes("float64")
    expected_numbers = numpy_floats(expected.frame()).select_dtypes("float64")
    np.testing.assert_allclose(numbers, expected_numbers, rtol=2e-4, equal_nan=True)
    assert not numbers["delta_norm"].isna().any()
    np.testing.assert_allclose(monitor.steps()["loss"], expected.steps()["loss"], rtol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_is_not_recorded(fused):
    model, data = mlp(), batches(3)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    expected = gradients(model, lambda m: loss_of(m, data[1]))
    with gradlab.watch(model, optimizer) as monitor:
        for index, batch in enumerate(data):
            optimizer.zero_grad()
            loss = loss_of(model, batch) * (torch.inf if index == 0 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert monitor.frame()["step"].unique().tolist() == [0, 1]
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-4)
    signals = error_signals(mlp(), lambda z: cross_entropy(z, data[1][1]), data[1][0])
    np.testing.assert_allclose(norms(monitor, "delta_norm"), signals, rtol=1e-4)
    assert np.isfinite(monitor.steps()["loss"]).all()
    assert monitor.notes == ["a GradScaler skipped 1 step, which was not recorded"]


def test_gradients_are_read_before_clipping():
    model, data = mlp(), batches(2)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    size = float(torch.cat([g.flatten() for g in expected.values()]).norm())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        for batch in data:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), size / 10)
            optimizer.step()
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    first = monitor.steps().iloc[0]
    assert first["grad_norm"] == pytest.approx(size, rel=1e-6)
    assert first["clip_factor"] == pytest.approx(0.1, rel=1e-3)


def test_clipping_by_value_and_by_a_function_imported_earlier():
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_

    model, data = mlp(), batches(1)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        loss_of(model, data[0]).backward()
        clip_grad_norm_(model.parameters(), 1e-3)
        torch.nn.utils.clip_grad_value_(model.parameters(), 1e-5)
        optimizer.step()
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    assert 0 < monitor.steps()["clip_factor"][0] < 1e-2
    assert clip_grad_value_ is torch.nn.utils.clip_grad_value_  # as before


def test_several_optimisers_make_one_step():
    model, data = mlp(), batches(3)
    halves = [list(model.parameters())[:2], list(model.parameters())[2:]]
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    optimizers = [torch.optim.SGD(half, 0.1) for half in halves]
    with gradlab.watch(model, optimizers) as monitor:
        for batch in data:
            model.zero_grad()
            loss_of(model, batch).backward()
            for optimizer in optimizers:
                optimizer.step()
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    assert monitor.frame()["step"].unique().tolist() == [0, 1, 2]
    assert (monitor.frame()["update_ratio"] > 0).all()


def test_an_optimiser_that_steps_more_often_begins_a_new_step():
    model, data = mlp(), batches(4)
    often, seldom = (
        torch.optim.SGD(half, 0.1) for half in (model[0].parameters(), model[5].parameters())
    )
    with gradlab.watch(model, [often, seldom]) as monitor:
        for index, batch in enumerate(data):
            model.zero_grad()
            loss_of(model, batch).backward()
            often.step()
            if index == 3:
                seldom.step()
    assert monitor.frame()["step"].unique().tolist() == [0, 1, 2, 3]
    reference = mlp()
    for step, (x, y) in enumerate(data):
        signals = error_signals(reference, lambda z, y=y: cross_entropy(z, y), x)
        np.testing.assert_allclose(norms(monitor, "delta_norm", step), signals, rtol=1e-5)
        grads = gradients(reference, lambda m, b=(x, y): loss_of(m, b))
        with torch.no_grad():
            for name, p in reference[0].named_parameters():
                p -= 0.1 * grads[f"0.{name}"]


def test_two_optimisers_with_separate_losses_make_one_step():
    torch.manual_seed(0)
    both = nn.ModuleDict({"g": nn.Linear(2, 6), "d": nn.Linear(6, 1)})
    g_optimizer, d_optimizer = (torch.optim.SGD(both[k].parameters(), 0.1) for k in "gd")
    with gradlab.watch(both, [d_optimizer, g_optimizer]) as monitor:
        for _ in range(2):
            z = torch.randn(5, 2)
            d_optimizer.zero_grad()
            both["d"](both["g"](z).detach()).mean().backward()
            d_optimizer.step()
            g_optimizer.zero_grad()
            (-both["d"](both["g"](z)).mean()).backward()
            g_optimizer.step()
    assert monitor.frame()["step"].tolist() == [0, 0, 1, 1]
    assert (
        monitor.frame()[["weight_grad_norm", "delta_norm", "update_ratio"]].notna().all(axis=None)
    )


@pytest.mark.parametrize("keyword", [False, True])
def test_the_first_evaluation_of_a_closure_is_recorded(keyword):
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

    with gradlab.watch(model, optimizer) as monitor:
        run(model, optimizer)
    run(plain, reference)
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    assert len(monitor.steps()) == 2
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_optimiser_of_the_model_is_found():
    model, other, data = mlp(), nn.Linear(6, 3), batches(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    other_optimizer = torch.optim.SGD(other.parameters(), 0.1)
    with gradlab.watch(model) as monitor:
        for batch in data:
            train(other, other_optimizer, [batch])
            train(model, optimizer, [batch])
    assert monitor.frame()["step"].unique().tolist() == [0, 1, 2]
    expected = gradients(mlp(), lambda m: loss_of(m, data[0]))
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    assert monitor.steps()["loss"][0] == pytest.approx(loss_of(mlp(), data[0]).item(), rel=1e-6)


def test_frozen_unused_and_unoptimised_parameters():
    model, data = mlp(), batches(2)
    model.append(nn.Linear(3, 3))
    model.spare = nn.Linear(2, 2)
    model.forward = lambda x: nn.Sequential.forward(model[:7], x)
    model[0].requires_grad_(False)
    optimised = [*model[3].parameters(), *model[5].parameters(), *model.spare.parameters()]
    optimizer = torch.optim.SGD(
        [{"params": optimised[:2], "lr": 0.5}, {"params": optimised[2:]}], 0.1
    )
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data)
    rows = monitor.frame()[monitor.frame()["step"] == 0].set_index("module")
    assert rows.loc["0", ["weight_grad_norm", "update_ratio"]].isna().all()  # frozen
    assert rows.loc["spare", ["weight_grad_norm", "delta_norm"]].isna().all()  # unused
    assert rows.loc["6", "weight_grad_norm"] > 0  # in no optimiser
    assert rows.loc["6", "update_ratio"] == 0
    assert rows.loc["3", "weight_count"] == model[3].weight.numel()
    ratio = rows.loc[["3", "5"], "update_ratio"] / rows.loc[["3", "5"], "weight_grad_norm"]
    rate = ratio * rows.loc[["3", "5"], "weight_norm"]
    np.testing.assert_allclose(rate, [0.5, 0.1], rtol=1e-5)
    assert monitor.steps()["lr"].tolist() == [0.5, 0.5]


def test_the_requested_steps_are_recorded():
    model, data = mlp(), batches(25)
    for every, expected in ((10, [0, 10, 20]), ("log", [0, 1, 2, 3, 4, 6, 7, 8, 10, 13, 16, 20])):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with gradlab.watch(model, optimizer, every=every) as monitor:
            train(model, optimizer, data)
        assert monitor.steps()["step"].tolist() == expected
        assert monitor.frame()["delta_norm"].notna().all()


def test_another_network_in_the_loop_is_ignored():
    model, other, data = mlp(), nn.Linear(6, 3), batches(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    other_optimizer = torch.optim.SGD(other.parameters(), 0.1)
    plain = mlp()
    plain_optimizer = torch.optim.SGD(plain.parameters(), 0.1)
    scalers = [torch.amp.GradScaler("cpu", init_scale=scale) for scale in (2.0**127, 16.0)]
    with gradlab.watch(plain, plain_optimizer) as expected:
        train(plain, plain_optimizer, data)
    with gradlab.watch(model, optimizer) as monitor:
        for batch in data:
            both = (other, other_optimizer), (model, optimizer)
            for (net, net_optimizer), scaler in zip(both, scalers, strict=True):
                net_optimizer.zero_grad()
                scaler.scale(loss_of(net, batch)).backward()
                torch.nn.utils.clip_grad_norm_(other.parameters(), 1e-6)
                scaler.step(net_optimizer)  # skips the steps of the other network
                scaler.update()
    assert monitor.notes == []
    numbers = numpy_floats(monitor.frame()).select_dtypes("float64")
    expected_numbers = numpy_floats(expected.frame()).select_dtypes("float64")
    np.testing.assert_allclose(numbers, expected_numbers, rtol=2e-4, equal_nan=True)
    for column in ("loss", "grad_norm", "clip_factor"):
        np.testing.assert_allclose(monitor.steps()[column], expected.steps()[column], rtol=1e-4)


def test_an_optimiser_that_steps_more_often_with_clipping_and_a_schedule():
    model, data = mlp(), batches(6)
    often, seldom = (torch.optim.SGD(model[i].parameters(), 0.1) for i in (0, 5))
    schedule = torch.optim.lr_scheduler.ExponentialLR(often, 0.5)
    sizes, rates = [], []
    with gradlab.watch(model, [often, seldom], every=2) as monitor:
        for index, batch in enumerate(data):
            model.zero_grad()
            loss_of(model, batch).backward()
            sizes.append(float(model[0].weight.grad.norm()))
            rates.append(often.param_groups[0]["lr"])
            torch.nn.utils.clip_grad_norm_(model[0].parameters(), 1e-3)
            often.step()
            schedule.step()
            if index == 2:
                seldom.step()
    assert monitor.steps()["step"].tolist() == [0, 2, 4]
    first = monitor.frame().query("module == '0'")["weight_grad_norm"]
    np.testing.assert_allclose(first, sizes[::2], rtol=1e-6)
    assert monitor.steps()["lr"].tolist() == rates[::2]
    assert monitor.frame()["delta_norm"].notna().all()
    norms = monitor.steps()["grad_norm"] * monitor.steps()["clip_factor"]
    np.testing.assert_allclose(norms[[0, 2]], 1e-3, rtol=1e-2)


def test_parameters_clipped_together_and_updated_separately():
    model, data = mlp(), batches(1)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    each = [torch.optim.SGD(model[i].parameters(), 0.1) for i in (0, 3, 5)]
    with gradlab.watch(model) as monitor:  # every update is a step
        loss_of(model, data[0]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        for optimizer in each:
            optimizer.step()
    recorded = [norms(monitor, step=i)[i] for i in range(3)]
    np.testing.assert_allclose(recorded, weight_norms(expected), rtol=1e-6)
    assert (monitor.steps()["clip_factor"] < 0.1).all()


def test_gradients_read_for_one_optimiser_survive_the_backward_pass_of_another():
    model, data = mlp(), batches(2)
    first, last = (torch.optim.SGD(model[i].parameters(), 0.0) for i in (0, 5))
    loss_of(model, data[0]).backward()
    expected = float(model[0].weight.grad.norm())
    with gradlab.watch(model, [first, last]) as monitor:
        for batch, optimizer in zip(data, (first, last), strict=True):
            model.zero_grad()
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)  # clips the gradients of both
            optimizer.step()
    assert len(monitor.steps()) == 1
    assert norms(monitor)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_gradients_that_stay_scaled_are_recorded_unscaled(fused, named):
    model, data = mlp(), batches(1)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    first = torch.optim.Adam(model[0].parameters(), lr=0.0, fused=fused)
    last = torch.optim.Adam(model[5].parameters(), lr=0.0, fused=fused)  # and none for model[3]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with gradlab.watch(model, [first, last] if named else None) as monitor:
        scaler.scale(loss_of(model, data[0])).backward()
        scaler.unscale_(last)
        for optimizer in (first, last):
            scaler.step(optimizer)
        scaler.update()
    for step in (0,) if named else (0, 1):
        np.testing.assert_allclose(norms(monitor, step=step), weight_norms(expected), rtol=1e-5)


def test_clipping_of_gradients_that_are_still_scaled():
    model, data = mlp(), batches(1)
    expected = gradients(model, lambda m: loss_of(m, data[0]))
    size = float(torch.cat([g.flatten() for g in expected.values()]).norm())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with gradlab.watch(model, optimizer) as monitor:
        scaler.scale(loss_of(model, data[0])).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 512 * size)  # a common mistake
        scaler.step(optimizer)
    assert monitor.steps()["grad_norm"][0] == pytest.approx(size, rel=1e-5)
    assert monitor.steps()["clip_factor"][0] == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("form", ["separate", "sum", "list"])
def test_each_backward_pass_has_the_scale_of_its_own_loss(form):
    model, other, data = mlp(), mlp(), batches(2)
    expected = sum(loss_of(model, batch).item() for batch in data)
    scalers = [torch.amp.GradScaler("cpu", init_scale=scale) for scale in (8.0, 1024.0)]
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with gradlab.watch(copy.deepcopy(model), None), gradlab.watch(model, optimizer) as monitor:
        losses = [loss_of(model, batch) for batch in data]
        if form == "list":
            losses = scalers[0].scale(losses)
        else:
            losses = [scalers[0].scale(losses[0]), scalers[0].scale(losses[1])]
        scalers[1].scale(loss_of(other, data[0])).backward()  # the latest scale is of another loss
        if form == "sum":
            scalers[0].scale(torch.zeros(()))
            sum(losses).backward()
        else:
            for loss in losses:
                loss.backward()
        scalers[0].step(optimizer)
    assert monitor.steps()["loss"][0] == pytest.approx(expected, rel=1e-6)
    twin = mlp()
    pairs = [error_signals(twin, lambda z, y=y: cross_entropy(z, y), x) for x, y in data]
    np.testing.assert_allclose(norms(monitor, "delta_norm"), np.hypot(*pairs), rtol=1e-5)


def test_the_loss_scale_of_another_network_is_ignored():
    model, other, data = mlp(), mlp(), batches(1)
    signals = error_signals(model, lambda z: cross_entropy(z, data[0][1]), data[0][0])
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with gradlab.watch(model, optimizer) as monitor:
        scaler.scale(loss_of(other, data[0])).backward()
        loss_of(model, data[0]).backward()
        optimizer.step()
    np.testing.assert_allclose(norms(monitor, "delta_norm"), signals, rtol=1e-6)
    assert norms(monitor)[0] == pytest.approx(float(model[0].weight.grad.norm()), rel=1e-6)


class Sharpness(torch.optim.Optimizer):
    """A sharpness-aware optimiser: its step uses the gradient at weights with a higher loss."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})
        self.base = torch.optim.SGD(self.param_groups, 0.1)

    @torch.no_grad()
    def step(self, closure):
        parameters = self.param_groups[0]["params"]
        before = [p.clone() for p in parameters]
        for p in parameters:
            p += p.grad
        self.zero_grad()
        with torch.enable_grad():
            closure()
        for p, old in zip(parameters, before, strict=True):
            p.copy_(old)
        self.base.step()


def test_a_sharpness_aware_step_records_its_second_gradient():
    model, data = mlp(dtype=torch.float64), batches(1, dtype=torch.float64)
    before = model[0].weight.detach().clone()
    worse = copy.deepcopy(model)
    loss_of(worse, data[0]).backward()
    with torch.no_grad():
        for p in worse.parameters():
            p += p.grad
    signals = error_signals(worse, lambda z: cross_entropy(z, data[0][1]), data[0][0])
    optimizer = Sharpness(model.parameters())

    def closure():
        loss = loss_of(model, data[0])
        loss.backward()
        return loss

    with gradlab.watch(model, optimizer) as monitor:
        closure()
        optimizer.step(closure)
    assert len(monitor.steps()) == 1
    moved = float((model[0].weight.detach() - before).norm() / before.norm())
    assert norms(monitor, "update_ratio")[0] == pytest.approx(moved, rel=1e-9)
    np.testing.assert_allclose(norms(monitor, "delta_norm"), signals, rtol=1e-9)
    assert monitor.steps()["loss"][0] == pytest.approx(loss_of(worse, data[0]).item(), rel=1e-9)


def test_discarded_gradients_are_not_recorded():
    model, data = mlp(), batches(2)
    signals = error_signals(model, lambda z: cross_entropy(z, data[1][1]), data[1][0])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        loss_of(model, data[0]).backward()
        optimizer.zero_grad()
        loss = loss_of(model, data[1])
        loss.backward()
        optimizer.step()
    assert monitor.steps()["loss"].tolist() == [pytest.approx(loss.item())]
    np.testing.assert_allclose(norms(monitor, "delta_norm"), signals, rtol=1e-6)


def test_an_optimiser_unknown_to_watch_gives_a_warning_and_no_growing_memory():
    model, data = mlp(), batches(20)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monitor = gradlab.watch(model, optimizer)
    monitor.start()
    train(model, torch.optim.SGD(model.parameters(), 0.1), data)  # another optimiser
    assert monitor._signals.count <= 3
    assert len(monitor._tracker._passes._losses) <= 1
    with pytest.warns(UserWarning, match=r"no step was recorded: .* updates \(SGD\) is not"):
        monitor.stop()


def test_updates_inside_the_backward_pass():
    model, data = mlp(), batches(3)
    optimizers = {p: torch.optim.SGD([p], 0.1) for p in model.parameters()}

    def update(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in optimizers:
        p.register_post_accumulate_grad_hook(update)
    losses = []
    with gradlab.watch(model, list(optimizers.values())) as monitor:
        for batch in data:
            loss = loss_of(model, batch)
            loss.backward()
            losses.append(loss.item())
    np.testing.assert_allclose(monitor.steps()["loss"], losses, rtol=1e-6)
    expected = gradients(mlp(), lambda m: loss_of(m, data[0]))
    np.testing.assert_allclose(norms(monitor), weight_norms(expected), rtol=1e-6)
    assert (monitor.frame()[["delta_norm", "update_ratio"]] > 0).all(axis=None)


def test_several_losses_in_one_backward_pass_are_summed():
    model, data = mlp(), batches(2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        losses = [loss_of(model, batch) for batch in data]
        torch.autograd.backward(losses)
        optimizer.step()
    assert monitor.steps()["loss"][0] == pytest.approx(
        sum(loss.item() for loss in losses), rel=1e-6
    )


class Bare(torch.optim.Optimizer):
    """An optimiser without a learning rate, and with two values of eps as in Adafactor."""

    def __init__(self, parameters):
        super().__init__(parameters, {"eps": (None, 1e-3)})

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.data -= 0.1 * p.grad


@pytest.mark.parametrize("kind", [Bare, torch.optim.Adafactor])
def test_settings_of_an_optimiser_may_be_other_than_numbers(kind, tmp_path):
    model, data = mlp(), batches(2)
    optimizer = kind(model.parameters())
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data)
    assert monitor.steps()["lr"].isna().all() == (kind is Bare)
    assert monitor.report(tmp_path).is_file()


def test_after_an_exception_in_a_closure_recording_continues():
    model, data = mlp(), batches(3)
    first, other = (torch.optim.SGD(model[i].parameters(), 0.1) for i in (0, 5))

    def fails():
        raise FloatingPointError

    with gradlab.watch(model, [first, other]) as monitor:
        with pytest.raises(FloatingPointError):
            first.step(fails)
        for batch in data:
            model.zero_grad()
            loss_of(model, batch).backward()
            other.step()
            first.step()
    assert monitor.steps()["step"].tolist() == [0, 1, 2]
    assert monitor.frame()["delta_norm"].notna().all()
