"""Stepping the schedule before the optimiser: the first learning rate is never used."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from gradlab.mistakes.building_blocks import Batch, digits_batches, small_network
from gradlab.mistakes.measures import gradient_norm, longest_update
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom

LR = 0.3


def broken(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    schedule = ExponentialLR(optimizer, gamma=0.5)

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        schedule.step()
        optimizer.step()
        return loss

    return Program(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    schedule = ExponentialLR(optimizer, gamma=0.5)

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    return Program(step, model, optimizer, digits_batches())


def measure(program: Program) -> Symptom:
    length = longest_update(program, 1, unit=LR)
    used = length / gradient_norm(program.model)
    return Symptom("learning rate of the first update / configured learning rate", used)


MISTAKE = Mistake(
    name="schedule_before_step",
    title="stepping the schedule before the optimiser",
    why="A schedule sets the first learning rate when it is made. If the schedule steps before "
    "the optimiser, the first update already uses the second rate. Each update uses the rate "
    "that was meant for the following update, and the first rate is never used.",
    fix="Call `optimizer.step()` first, then `schedule.step()`.",
    broken=broken,
    fixed=fixed,
    symptom=measure,
    bound=Bound(low=0.99, high=1.01),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
)
