"""Weights that start equal: all units stay equal, and a layer of 32 units acts as one unit."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, small_network, step
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom, seeded


def broken_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.constant_(layer.weight, 0.01)
        nn.init.zeros_(layer.bias)


def fixed_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.1)
        nn.init.zeros_(layer.bias)


def build(init: Callable[[nn.Module], None], seed: int = 0) -> Program:
    with seeded(seed):
        model = small_network(seed).apply(init)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def measure(program: Program) -> Symptom:
    train(program, 66)
    weights = program.model.get_parameter("0.weight").detach()
    close = torch.cdist(weights, weights) < 1e-3 * weights.norm(dim=1).max()
    different = int((~close.tril(-1).any(1)).sum())  # from all units before it
    return Symptom("hidden units that differ, of 32, after 66 steps", different)


MISTAKE = Mistake(
    name="constant_init",
    title="weights that start equal",
    why="Units with equal weights have equal outputs and equal gradients, so every step changes "
    "them equally. The layer never computes more than a single unit could.",
    fix="Draw the weights at random: only random weights make the units different.",
    broken=partial(build, broken_init),
    fixed=partial(build, fixed_init),
    symptom=measure,
    bound=Bound(32, 32),
    code=(broken_init, fixed_init),
    source="I. Goodfellow et al., Deep Learning (2016), section 8.4",
)
