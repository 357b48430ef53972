"""An in-place change of a tensor that `backward` still needs."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_batches
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step, Symptom, seeded

STEPS = 10


def broken_step(model: nn.Sequential, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    h = torch.tanh(model[0](x))
    h += x
    loss = cross_entropy(model[1](h), y)
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Sequential, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    h = torch.tanh(model[0](x))
    h = h + x
    loss = cross_entropy(model[1](h), y)
    loss.backward()
    optimizer.step()
    return loss


def build(step: Step, seed: int = 0) -> Program:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.1), digits_batches())


def measure(program: Program) -> Symptom:
    name = f"steps made, of {STEPS}"
    for done in range(STEPS):
        try:
            train(program, 1)
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            return Symptom(name, done)
    return Symptom(name, STEPS)


MISTAKE = Mistake(
    name="in_place_change",
    title="an in-place change of a saved tensor",
    why="tanh saves its result h, because its derivative is 1 - h². Then `h += x` overwrites h. "
    "Autograd counts the changes of each tensor, so it raises an error instead of computing a "
    "wrong gradient.",
    fix="Make a new tensor: `h = h + x`.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure,
    bound=Bound(STEPS, STEPS),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/notes/autograd.html#in-place-correctness-checks",
)
