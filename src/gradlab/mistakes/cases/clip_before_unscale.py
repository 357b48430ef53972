"""Clipping before `unscale_`: the gradient is still multiplied by the scaler's factor."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import measure_accuracy
from gradlab.mistakes.mistake import Bound, Mistake, Program


def broken(seed: int = 0) -> Program:
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return digits_program(step, seed)


def fixed(seed: int = 0) -> Program:
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return digits_program(step, seed)


MISTAKE = Mistake(
    name="clip_before_unscale",
    title="clipping before `unscale_`",
    why="The scaler multiplies the loss by 65,536, so the norm of the gradient is always above "
    "`max_norm` and is clipped to it. Then `scaler.step` divides the gradient by 65,536. Every "
    "update is tens of thousands of times too small.",
    fix="Call `scaler.unscale_(optimizer)` before clipping.",
    broken=broken,
    fixed=fixed,
    symptom=measure_accuracy,
    bound=Bound(low=75),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping",
)
