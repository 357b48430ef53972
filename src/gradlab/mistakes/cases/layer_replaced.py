"""A layer replaced after the optimiser was made: it moves the layer that is gone."""

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, small_net, step
from gradlab.mistakes.measures import moved
from gradlab.mistakes.mistake import Bound, Mistake, Practice, seeded


def broken(seed: int = 0) -> Practice:
    model = small_net(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with seeded(seed + 1):
        model[2] = nn.Linear(32, 10)
    return Practice(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Practice:
    model = small_net(seed)
    with seeded(seed + 1):
        model[2] = nn.Linear(32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Practice(step, model, optimizer, digits_batches())


MISTAKE = Mistake(
    name="layer_replaced",
    title="a layer replaced after the optimiser was made",
    why="The optimiser holds the tensors that it was given, not the model. A new head, as in "
    "fine-tuning, is one that it has never seen; it goes on holding the old one.",
    fix="Make the optimiser last, when the model is complete and on its device.",
    broken=broken,
    fixed=fixed,
    symptom=moved,
    holds=Bound(low=100),
    code=(broken, fixed),
    source="https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html",
)
