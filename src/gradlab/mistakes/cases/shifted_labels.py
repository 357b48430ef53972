"""Labels off by one: classes counted from 1 where torch counts from 0."""

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, step
from gradlab.mistakes.measures import accuracy
from gradlab.mistakes.mistake import Bound, Mistake, Practice, seeded


def broken(seed: int = 0) -> Practice:
    batches = [(x, y + 1) for x, y in digits_batches()]
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 11))  # 10: out of bounds
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), batches)


def fixed(seed: int = 0) -> Practice:
    batches = [(x, y) for x, y in digits_batches()]
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), batches)


MISTAKE = Mistake(
    name="shifted_labels",
    title="labels off by one",
    why="A file whose classes count from 1 makes `cross_entropy` stop at label 10 of 10. One more "
    "output silences it, the loss falls as it should, and every answer is one class too high; the "
    "first output is never right.",
    fix="Shift the labels to 0 ... C - 1 where they are read; the network has C outputs.",
    broken=broken,
    fixed=fixed,
    symptom=accuracy,
    holds=Bound(low=75),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
)
