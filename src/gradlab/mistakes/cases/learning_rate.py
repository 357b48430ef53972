"""A learning rate ten times too large: every step overshoots."""

import torch

from gradlab.mistakes.material import digits_batches, small_net, step
from gradlab.mistakes.measures import last_loss
from gradlab.mistakes.mistake import Bound, Mistake, Practice


def broken(seed: int = 0) -> Practice:
    model = small_net(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    return Practice(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Practice:
    model = small_net(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Practice(step, model, optimizer, digits_batches())


MISTAKE = Mistake(
    name="learning_rate",
    title="a learning rate ten times too large",
    why="Descent is stable only where the loss's curvature is below 2 / lr. Beyond that each step "
    "lands higher up on the other side of the valley than it started, and the next one, along a "
    "steeper slope, higher still.",
    fix="Divide the learning rate by ten, and watch the loss of the first steps.",
    broken=broken,
    fixed=fixed,
    symptom=last_loss,
    holds=Bound(high=0.5),
    code=(broken, fixed),
    source="Y. Bengio, Practical recommendations for gradient-based training (2012), section 3.1.1",
)
