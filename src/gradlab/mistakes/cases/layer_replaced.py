"""A layer replaced after the optimiser was made: the optimiser updates the old layer."""

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, small_network, step
from gradlab.mistakes.measures import measure_moved_weights
from gradlab.mistakes.mistake import Bound, Mistake, Program, seeded


def broken(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with seeded(seed + 1):
        model[2] = nn.Linear(32, 10)
    return Program(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Program:
    model = small_network(seed)
    with seeded(seed + 1):
        model[2] = nn.Linear(32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Program(step, model, optimizer, digits_batches())


MISTAKE = Mistake(
    name="layer_replaced",
    title="a layer replaced after the optimiser was made",
    why="The optimiser holds tensors, not the model. If the code replaces a layer, for example the "
    "head in fine-tuning, the optimiser still holds the old layer and does not know the new one.",
    fix="Make the optimiser last, when the model is complete and on its device.",
    broken=broken,
    fixed=fixed,
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(broken, fixed),
    source="https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html",
)
