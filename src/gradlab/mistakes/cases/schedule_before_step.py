"""Stepping the schedule before the optimiser: the first learning rate is never used."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from gradlab.mistakes.material import Batch, digits_batches, small_net
from gradlab.mistakes.measures import grad_norm, longest_update
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom

LR = 0.3


def broken(seed: int = 0) -> Practice:
    model = small_net(seed)
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

    return Practice(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Practice:
    model = small_net(seed)
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

    return Practice(step, model, optimizer, digits_batches())


def symptom(practice: Practice) -> Symptom:
    length = longest_update(practice, 1, unit=LR)
    used = length / grad_norm(practice.model)
    return Symptom("learning rate of the first update, over the one that was set", used)


MISTAKE = Mistake(
    name="schedule_before_step",
    title="stepping the schedule before the optimiser",
    why="A schedule sets its first value when it is made. Stepped before the optimiser, it has "
    "moved on by the first update: every update uses the value meant for the next, and the first "
    "is lost.",
    fix="Call `optimizer.step()` first, then `schedule.step()`.",
    broken=broken,
    fixed=fixed,
    symptom=symptom,
    holds=Bound(low=0.99, high=1.01),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
)
