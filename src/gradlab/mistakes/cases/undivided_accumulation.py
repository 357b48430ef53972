"""Gradient accumulation without dividing: a sum of means instead of a mean."""

from copy import deepcopy
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, digits_batches, small_net
from gradlab.mistakes.measures import grad_norm
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Step, Symptom


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


def practice(step: Step, seed: int = 0) -> Practice:
    model, small = small_net(seed), digits_batches(16)
    batches = [small[i : i + 4] for i in range(0, len(small) - 3, 4)]
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), batches)


def symptom(practice: Practice) -> Symptom:
    batch, whole = practice.batches[0], deepcopy(practice.model)
    practice.step(practice.model, practice.optimizer, batch)
    x, y = (torch.cat(parts) for parts in zip(*batch, strict=True))
    cross_entropy(whole(x), y).backward()
    ratio = grad_norm(practice.model) / grad_norm(whole)
    return Symptom("gradient of four small batches, over that of the same samples at once", ratio)


MISTAKE = Mistake(
    name="undivided_accumulation",
    title="accumulation without dividing",
    why="Each small batch adds the gradient of its own mean. The sum over four of them is four "
    "times the gradient of the large batch that they stand for, and so is the step.",
    fix="Divide each loss by the number of small batches.",
    broken=partial(practice, broken_step),
    fixed=partial(practice, fixed_step),
    symptom=symptom,
    holds=Bound(low=0.99, high=1.01),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation",
)
