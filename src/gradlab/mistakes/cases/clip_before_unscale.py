"""Clipping before `unscale_`: the gradient is still multiplied by the scaler's factor."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, on_digits
from gradlab.mistakes.measures import accuracy
from gradlab.mistakes.mistake import Bound, Mistake, Practice


def broken(seed: int = 0) -> Practice:
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

    return on_digits(step, seed)


def fixed(seed: int = 0) -> Practice:
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

    return on_digits(step, seed)


MISTAKE = Mistake(
    name="clip_before_unscale",
    title="clipping before `unscale_`",
    why="The loss was multiplied by 65,536, so every gradient is far above `max_norm` and is cut "
    "to it; `scaler.step` then divides by 65,536. Every update is tens of thousands of times too "
    "small.",
    fix="Call `scaler.unscale_(optimizer)` before clipping.",
    broken=broken,
    fixed=fixed,
    symptom=accuracy,
    holds=Bound(low=75),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping",
)
