"""The state of an examined training is restored bit by bit."""

import argparse
import copy
import random
import types
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gradlab.debugger.examine import doctor
from gradlab.debugger.sandbox.snapshot import restored
from gradlab.mistakes.catalogue import CATALOGUE
from tests.debugger.correct import Task, blobs, mlp

TOTALS = {"steps": 0}
COUNT = 0


def state(*modules):
    return [
        (name, value.clone(), value.grad if value.is_leaf else None)
        for module in modules
        for name, value in [*module.named_parameters(), *module.named_buffers()]
    ]


def assert_equal(before, after):
    for (a, x, g), (b, y, h) in zip(before, after, strict=True):
        assert a == b
        assert torch.equal(x, y)
        assert g is h


def generators():
    return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()


def test_the_state_of_a_task_is_restored():
    task, (x, y) = Task(), blobs()
    task.step(task.model, task.optimizer, (x, y))  # so that there are gradients and a momentum
    weights = state(task.model)
    grads = [p.grad.clone() for p in task.model.parameters()]
    optimizer, schedule = copy.deepcopy((task.optimizer.state_dict(), task.schedule.state_dict()))
    scaler, history, drawn = task.scaler.state_dict(), list(task.history), generators()
    mode, parts = task.model.training, [*task.model.modules()]
    assert doctor(task.step, task.model, task.optimizer, (x, y)) == []
    assert_equal(weights, state(task.model))
    assert all(torch.equal(p.grad, g) for p, g in zip(task.model.parameters(), grads, strict=True))
    held = task.optimizer.state_dict()
    assert held["param_groups"] == optimizer["param_groups"]
    for key, values in optimizer["state"].items():
        assert torch.equal(values["momentum_buffer"], held["state"][key]["momentum_buffer"])
    assert task.schedule.state_dict() == schedule
    assert task.scaler.state_dict() == scaler
    assert (task.history, task.steps) == (history, 1)
    assert [*task.model.modules()] == parts
    assert task.model.training is mode
    assert torch.equal(drawn[0], torch.get_rng_state())
    assert drawn[1:] == generators()[1:]


def test_closures_and_globals_of_a_step_are_restored():
    hidden, calls, losses = mlp(10, 8, 3), 0, []

    def step(model, optimizer, batch):
        nonlocal calls
        global COUNT
        x, y = batch
        calls += 1
        COUNT += 1
        TOTALS["steps"] += 1
        optimizer.zero_grad()
        loss = F.cross_entropy(hidden(x) + model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        x.mul_(random.random())

    model = mlp(10, 3)
    optimizer = torch.optim.Adam([*model.parameters(), *hidden.parameters()])
    batch = blobs()
    values, weights = batch[0].clone(), state(model, hidden)
    assert doctor(step, model, optimizer, batch) == []
    assert (calls, losses, TOTALS, COUNT) == (0, [], {"steps": 0}, 0)
    assert torch.equal(batch[0], values)
    assert not optimizer.state
    assert_equal(weights, state(model, hidden))


@pytest.mark.parametrize("mistake", CATALOGUE, ids=lambda mistake: mistake.name)
def test_the_state_is_restored_after_a_mistake(mistake):
    program = mistake.broken()
    weights, drawn = state(program.model), torch.get_rng_state()
    doctor(program.step, program.model, program.optimizer, program.batches)
    assert_equal(weights, state(program.model))
    assert torch.equal(drawn, torch.get_rng_state())


def test_functions_of_torch_are_restored_after_an_error():
    from torch.nn.modules import module as hooks
    from torch.nn.utils import clip_grad_norm_

    watched = (
        torch.autograd.backward,
        torch.autograd.Function.__dict__["apply"],
        torch.optim.Optimizer.__init__,
        torch.amp.GradScaler.step,
        torch.optim.lr_scheduler.LRScheduler.step,
        [cell.cell_contents for cell in clip_grad_norm_.__closure__],
        len(hooks._global_forward_hooks),
        len(hooks._global_forward_pre_hooks),
    )

    def step(model, optimizer, batch):
        raise KeyboardInterrupt

    model = nn.Linear(2, 1)
    with pytest.raises(KeyboardInterrupt):
        doctor(step, model, torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(2, 2))
    assert watched == (
        torch.autograd.backward,
        torch.autograd.Function.__dict__["apply"],
        torch.optim.Optimizer.__init__,
        torch.amp.GradScaler.step,
        torch.optim.lr_scheduler.LRScheduler.step,
        [cell.cell_contents for cell in clip_grad_norm_.__closure__],
        len(hooks._global_forward_hooks),
        len(hooks._global_forward_pre_hooks),
    )


def test_the_generator_of_a_loader_is_restored():
    drawn = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(*blobs()), batch_size=32, shuffle=True, generator=drawn)
    before, task = drawn.get_state(), Task()
    assert doctor(task.step, task.model, task.optimizer, loader) == []
    assert torch.equal(before, drawn.get_state())


def test_memory_and_flags_of_a_tensor_are_restored():
    w = nn.Parameter(torch.arange(4.0))
    at, holder = w.data_ptr(), {"w": w, "rest": [1, 2]}
    with restored(holder):
        w.data = torch.ones(7)
        w.requires_grad_(False)
        w.grad = None
        holder["rest"].append(3)
        del holder["w"]
    assert holder == {"rest": [1, 2], "w": w}
    assert w.data_ptr() == at
    assert w.requires_grad
    assert w.tolist() == [0, 1, 2, 3]


def numbers_of(tensor):
    if tensor.layout == torch.sparse_coo:
        return tensor._values()
    return tensor if tensor.layout == torch.strided else tensor.values()


def expanded(tensor):
    return tensor[0].expand(3, 3)


def for_inference(tensor):
    with torch.inference_mode():
        return tensor + 0


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize(
    "of", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, expanded, for_inference]
)
def test_sparse_expanded_and_inference_tensors_are_restored(of):
    tensor = of(torch.eye(3) + 1)
    before = tensor.to_dense().clone()
    with restored([tensor]):
        with torch.inference_mode(tensor.is_inference()):
            numbers_of(tensor)[0] = 7.0
        assert not torch.equal(tensor.to_dense(), before)
    assert torch.equal(tensor.to_dense(), before)


class Slotted:
    __slots__ = ("steps", "tensor")

    def __init__(self):
        self.steps, self.tensor = 0, torch.zeros(2)


def test_state_in_namespaces_arrays_and_slots_is_restored():
    arguments, plain = argparse.Namespace(step=0, losses=[]), types.SimpleNamespace(best=1.0)
    array, slotted, frozen = np.zeros(3), Slotted(), np.zeros(2)
    frozen.flags.writeable = False
    holder = {"all": (arguments, plain, array, slotted, frozen)}
    with restored(holder):
        arguments.step, plain.best = 5, 0.0
        arguments.losses.append(1.0)
        array += 1
        slotted.steps = 3
        slotted.tensor += 1
    assert (arguments.step, arguments.losses, plain.best) == (0, [], 1.0)
    assert not array.any()
    assert slotted.steps == 0
    assert not slotted.tensor.any()


@dataclass(frozen=True, slots=True)
class Frozen:
    values: list


class Counting(nn.Module):
    calls = 0
    shapes: ClassVar = []

    def forward(self, x):
        global COUNT
        COUNT += 1
        Counting.calls += 1
        self.shapes.append(x.shape)
        return self.note(x)

    @staticmethod
    def note(x):
        TOTALS["steps"] += 1
        return x


def test_attributes_of_functions_and_classes_are_restored():
    def step(frozen):
        step.times += 1
        frozen.values.append(step.times)
        Counting()(torch.ones(2))

    step.times, frozen, model = 0, Frozen([]), Counting()
    with restored(step, frozen, model):
        step(frozen)
        model(torch.ones(1))
    assert (step.times, frozen, COUNT, TOTALS) == (0, Frozen([]), 0, {"steps": 0})
    assert (Counting.calls, Counting.shapes) == (0, [])
    assert isinstance(vars(Counting)["note"], staticmethod)


@pytest.mark.parametrize(
    ("generator", "draw"),
    [
        (random.Random(0), lambda g: g.random()),
        (np.random.default_rng(0), lambda g: g.random()),
        (np.random.RandomState(0), lambda g: g.rand()),
        (torch.Generator(), lambda g: float(torch.rand(1, generator=g))),
    ],
)
def test_generators_of_the_user_are_restored(generator, draw):
    with restored([generator]):
        first = draw(generator)
    assert draw(generator) == first


def test_the_settings_of_torch_are_restored():
    def settings():
        return (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.is_anomaly_enabled(),
        )

    before = settings()
    with restored():
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.autograd.set_detect_anomaly(True)
    assert settings() == before


class Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        print("forward")
        mask = (torch.rand_like(x) > 0.2).to(x.dtype) / 0.8
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask


def test_the_check_of_a_custom_function_has_no_side_effects(capsys):
    def step(model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        F.cross_entropy(Dropped.apply(model(x)), y).backward()
        optimizer.step()

    model, drawn = mlp(10, 3), generators()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = torch.get_rng_state()
    assert doctor(step, model, optimizer, blobs()) == []
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn[1:] == generators()[1:]
    assert capsys.readouterr().out == ""
