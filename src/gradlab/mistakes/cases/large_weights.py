"""Weights too large for the depth: each layer multiplies the signal, forward and back."""

from collections.abc import Callable
from functools import partial
from math import log

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, step
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom, seeded


def broken_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=1.0)


def fixed_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight)


def practice(init: Callable[[nn.Module], None], seed: int = 0) -> Practice:
    with seeded(seed):
        hidden = [part for _ in range(8) for part in (nn.Linear(64, 64), nn.ReLU())]
        model = nn.Sequential(*hidden, nn.Linear(64, 10)).apply(init)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.01), digits_batches())


def symptom(practice: Practice) -> Symptom:
    first, *_ = train(practice, 1)
    return Symptom("first loss, over log 10, that of a network that knows nothing", first / log(10))


MISTAKE = Mistake(
    name="large_weights",
    title="weights too large for the depth",
    why="A ReLU layer of width n multiplies the signal by std · √(n / 2): 5.7 for std 1 and n = "
    "64, and 5.7^8 is a million. The gradient grows by the same factor on its way back.",
    fix="Use std √(2 / n) before a ReLU (Kaiming), √(1 / n) before tanh (LeCun, Xavier).",
    broken=partial(practice, broken_init),
    fixed=partial(practice, fixed_init),
    symptom=symptom,
    holds=Bound(high=3),
    code=(broken_init, fixed_init),
    source="K. He et al., Delving deep into rectifiers (2015), arXiv:1502.01852, equation 10",
)
