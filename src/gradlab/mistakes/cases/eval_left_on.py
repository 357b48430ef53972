"""Eval mode left on after a validation: no dropout, and no new statistics for batch norm."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_batches, digits_dataset
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step, Symptom, seeded

STEPS = 10


def validate(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        return float(cross_entropy(model(digits_dataset().x_test.float()), digits_dataset().y_test))


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    validate(model)
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    model.train()
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    validate(model)
    return loss


def build(step: Step, seed: int = 0) -> Program:
    with seeded(seed):
        model = nn.Sequential(
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
        )
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.1), digits_batches())


def measure(program: Program) -> Symptom:
    train(program, STEPS)
    seen = int(program.model.get_buffer("1.num_batches_tracked"))
    return Symptom(f"batches that batch norm has taken its statistics from, of {STEPS}", seen)


MISTAKE = Mistake(
    name="eval_left_on",
    title="eval mode left on",
    why="`validate` calls `model.eval()`, and no code calls `model.train()` again. From the second "
    "step on, dropout does nothing, and batch norm uses its running statistics, which contain only "
    "the first batch.",
    fix="Call `model.train()` at the top of the training step or epoch.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure,
    bound=Bound(STEPS, STEPS),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval",
)
