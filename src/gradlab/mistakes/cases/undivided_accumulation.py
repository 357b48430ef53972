"""Gradient accumulation without division: a sum of means instead of a mean."""

from copy import deepcopy
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_batches, small_network
from gradlab.mistakes.measures import gradient_norm
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step, Symptom


def broken_step(model: nn.Module, optimizer: Optimizer, batch: list[Batch]) -> None:
    optimizer.zero_grad()
    for x, y in batch:
        loss = cross_entropy(model(x), y)
        loss.backward()
    optimizer.step()


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: list[Batch]) -> None:
    optimizer.zero_grad()
    for x, y in batch:
        loss = cross_entropy(model(x), y) / len(batch)
        loss.backward()
    optimizer.step()


def build(step: Step, seed: int = 0) -> Program:
    model, small = small_network(seed), digits_batches(16)
    batches = [small[i : i + 4] for i in range(0, len(small) - 3, 4)]
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), batches)


def measure(program: Program) -> Symptom:
    batch, whole = program.batches[0], deepcopy(program.model)
    program.step(program.model, program.optimizer, batch)
    x, y = (torch.cat(parts) for parts in zip(*batch, strict=True))
    cross_entropy(whole(x), y).backward()
    ratio = gradient_norm(program.model) / gradient_norm(whole)
    return Symptom("gradient of four small batches / gradient of one large batch", ratio)


MISTAKE = Mistake(
    name="undivided_accumulation",
    title="accumulation without division",
    why="Each small batch adds the gradient of its mean. The sum over four small batches is four "
    "times the gradient of one large batch with the same samples, so the step is four times as "
    "long.",
    fix="Divide each loss by the number of small batches.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure,
    bound=Bound(low=0.99, high=1.01),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation",
)
