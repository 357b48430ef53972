"""Labels off by one: classes counted from 1 where torch counts from 0."""

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, step
from gradlab.mistakes.measures import measure_accuracy
from gradlab.mistakes.mistake import Bound, Mistake, Program, seeded


def broken(seed: int = 0) -> Program:
    batches = [(x, y + 1) for x, y in digits_batches()]
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 11))  # 10: out of bounds
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), batches)


def fixed(seed: int = 0) -> Program:
    batches = [(x, y) for x, y in digits_batches()]
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), batches)


MISTAKE = Mistake(
    name="shifted_labels",
    title="labels off by one",
    why="If the labels of 10 classes begin at 1, `cross_entropy` raises an error at label 10. An "
    "eleventh output hides the error, and the loss falls as usual. But every prediction is "
    "one class too high, and the first output is never used.",
    fix="Shift the labels to 0 ... C - 1 where the program reads them; the network has C outputs.",
    broken=broken,
    fixed=fixed,
    symptom=measure_accuracy,
    bound=Bound(low=75),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
)
