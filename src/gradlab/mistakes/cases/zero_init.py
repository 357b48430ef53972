"""Weights that start at zero: nothing goes forward, and nothing comes back."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, small_net, step
from gradlab.mistakes.measures import accuracy
from gradlab.mistakes.mistake import Bound, Mistake, Practice, seeded


def broken_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def fixed_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def practice(init: Callable[[nn.Module], None], seed: int = 0) -> Practice:
    with seeded(seed):
        model = small_net(seed).apply(init)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


MISTAKE = Mistake(
    name="zero_init",
    title="weights that start at zero",
    why="With zero weights the hidden layer is 0, so the last layer's weights get no gradient; "
    "and the signal that goes back passes through zero weights, so the first layer gets none "
    "either. Only the last bias learns: how often each class occurs.",
    fix="Draw the weights at random, scaled to the layer's width; only biases may start at 0.",
    broken=partial(practice, broken_init),
    fixed=partial(practice, fixed_init),
    symptom=accuracy,
    holds=Bound(low=75),
    code=(broken_init, fixed_init),
    source="I. Goodfellow et al., Deep Learning (2016), section 8.4",
)
