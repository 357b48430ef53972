"""Parameters missing from the optimiser: part of the network never learns."""

import torch

from gradlab.mistakes.material import digits_batches, small_net, step
from gradlab.mistakes.measures import moved
from gradlab.mistakes.mistake import Bound, Mistake, Practice


def broken(seed: int = 0) -> Practice:
    model = small_net(seed)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.3)
    return Practice(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Practice:
    model = small_net(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Practice(step, model, optimizer, digits_batches())


MISTAKE = Mistake(
    name="missing_parameters",
    title="parameters missing from the optimiser",
    why="`backward` gives every weight its gradient, but `step` moves only those that the "
    "optimiser was given. The rest stays random, and the layers on top of it make the best of "
    "that.",
    fix="Give the optimiser all of `model.parameters()`, or a group for every part.",
    broken=broken,
    fixed=fixed,
    symptom=moved,
    holds=Bound(low=100),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/optim.html#constructing-it",
)
