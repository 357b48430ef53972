"""Weights that start alike: the units stay alike, and a layer of 32 is a layer of one."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, small_net, step
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom, seeded


def broken_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.constant_(layer.weight, 0.01)
        nn.init.zeros_(layer.bias)


def fixed_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.1)
        nn.init.zeros_(layer.bias)


def practice(init: Callable[[nn.Module], None], seed: int = 0) -> Practice:
    with seeded(seed):
        model = small_net(seed).apply(init)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def symptom(practice: Practice) -> Symptom:
    train(practice, 66)
    weights = practice.model.get_parameter("0.weight").detach()
    close = torch.cdist(weights, weights) < 1e-3 * weights.norm(dim=1).max()
    different = int((~close.tril(-1).any(1)).sum())  # like no unit before it
    return Symptom("hidden units that differ, of 32, after 66 steps", different)


MISTAKE = Mistake(
    name="constant_init",
    title="weights that start alike",
    why="Units with the same weights give the same output and get the same gradient, so they take "
    "the same step, and the next. The layer never computes more than one unit could.",
    fix="Draw the weights at random: only that tells the units apart.",
    broken=partial(practice, broken_init),
    fixed=partial(practice, fixed_init),
    symptom=symptom,
    holds=Bound(low=32),
    code=(broken_init, fixed_init),
    source="I. Goodfellow et al., Deep Learning (2016), section 8.4",
)
