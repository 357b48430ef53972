"""Softmax before `cross_entropy`, which applies softmax itself."""

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, step
from gradlab.mistakes.measures import measure_last_loss
from gradlab.mistakes.mistake import Bound, Mistake, Program, seeded


def broken(seed: int = 0) -> Program:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=1))
    return Program(step, model, torch.optim.Adam(model.parameters(), lr=0.01), digits_batches())


def fixed(seed: int = 0) -> Program:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return Program(step, model, torch.optim.Adam(model.parameters(), lr=0.01), digits_batches())


MISTAKE = Mistake(
    name="softmax_before_cross_entropy",
    title="softmax before `cross_entropy`",
    why="The second softmax treats probabilities between 0 and 1 as logits. With 10 classes, a "
    "network that is certain and right still has the loss log(e + 9) - 1 = 1.46. The first "
    "softmax is flat where the network is certain, so the gradient is small there.",
    fix="Pass the logits to `cross_entropy`; apply softmax only to show probabilities.",
    broken=broken,
    fixed=fixed,
    symptom=measure_last_loss,
    bound=Bound(high=0.5),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
)
