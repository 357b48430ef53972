"""Softmax before `cross_entropy`, which applies one itself."""

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, step
from gradlab.mistakes.measures import last_loss
from gradlab.mistakes.mistake import Bound, Mistake, Practice, seeded


def broken(seed: int = 0) -> Practice:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=1))
    return Practice(step, model, torch.optim.Adam(model.parameters(), lr=0.01), digits_batches())


def fixed(seed: int = 0) -> Practice:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return Practice(step, model, torch.optim.Adam(model.parameters(), lr=0.01), digits_batches())


MISTAKE = Mistake(
    name="softmax_before_cross_entropy",
    title="softmax before `cross_entropy`",
    why="The second softmax takes probabilities, all between 0 and 1, for logits. A network that "
    "is certain and right still has the loss log(e + 9) - 1 = 1.46, and its gradient is squeezed "
    "by the first softmax, which is flat wherever the network is sure.",
    fix="Give `cross_entropy` the logits; apply softmax only where probabilities are shown.",
    broken=broken,
    fixed=fixed,
    symptom=last_loss,
    holds=Bound(high=0.5),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
)
