"""A learning rate ten times too large: every step overshoots."""

import torch

from gradlab.mistakes.building_blocks import digits_batches, small_network, step
from gradlab.mistakes.measures import measure_last_loss
from gradlab.mistakes.mistake import Bound, Mistake, Program


def broken(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    return Program(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Program(step, model, optimizer, digits_batches())


MISTAKE = Mistake(
    name="learning_rate",
    title="a learning rate ten times too large",
    why="Gradient descent is stable only where the curvature of the loss is below 2 / lr. With a "
    "larger curvature, each step crosses the valley and ends higher than it started. There the "
    "slope is steeper, so the next step is even longer.",
    fix="Divide the learning rate by ten, and watch the loss of the first steps.",
    broken=broken,
    fixed=fixed,
    symptom=measure_last_loss,
    bound=Bound(high=0.5),
    code=(broken, fixed),
    source="Y. Bengio, Practical recommendations for gradient-based training (2012), section 3.1.1",
)
