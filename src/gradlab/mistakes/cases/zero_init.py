"""Weights that start at zero: signals and gradients are zero as well."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, small_network, step
from gradlab.mistakes.measures import measure_accuracy
from gradlab.mistakes.mistake import Bound, Mistake, Program, seeded


def broken_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def fixed_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def build(init: Callable[[nn.Module], None], seed: int = 0) -> Program:
    with seeded(seed):
        model = small_network(seed).apply(init)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


MISTAKE = Mistake(
    name="zero_init",
    title="weights that start at zero",
    why="With zero weights the hidden layer is 0, so the gradient of the last layer's weights is "
    "0. The backward pass multiplies by zero weights, so the gradient of the first layer is 0"
    " as well. Only the last bias learns, and it learns only how frequent each class is.",
    fix="Draw the weights at random, scaled to the layer's width; only biases may start at 0.",
    broken=partial(build, broken_init),
    fixed=partial(build, fixed_init),
    symptom=measure_accuracy,
    bound=Bound(low=75),
    code=(broken_init, fixed_init),
    source="I. Goodfellow et al., Deep Learning (2016), section 8.4",
)
