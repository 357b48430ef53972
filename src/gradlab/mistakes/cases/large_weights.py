"""Weights too large for the depth: each layer multiplies the signal, forward and back."""

from collections.abc import Callable
from functools import partial
from math import log

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, step
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom, seeded


def broken_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=1.0)


def fixed_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight)


def build(init: Callable[[nn.Module], None], seed: int = 0) -> Program:
    with seeded(seed):
        hidden = [part for _ in range(8) for part in (nn.Linear(64, 64), nn.ReLU())]
        model = nn.Sequential(*hidden, nn.Linear(64, 10)).apply(init)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.01), digits_batches())


def measure(program: Program) -> Symptom:
    first, *_ = train(program, 1)
    return Symptom("first loss / log 10, the loss of a uniform guess", first / log(10))


MISTAKE = Mistake(
    name="large_weights",
    title="weights too large for the depth",
    why="A ReLU layer of width n multiplies the signal by std · √(n / 2): 5.7 for std 1 and n = "
    "64, and 5.7^8 is a million. The backward pass multiplies the gradient by the same factor.",
    fix="Use the standard deviation √(2 / n) before a ReLU (Kaiming), √(1 / n) before tanh (LeCun, "
    "Xavier).",
    broken=partial(build, broken_init),
    fixed=partial(build, fixed_init),
    symptom=measure,
    bound=Bound(high=3),
    code=(broken_init, fixed_init),
    source="K. He et al., Delving deep into rectifiers (2015), arXiv:1502.01852, equation 10",
)
