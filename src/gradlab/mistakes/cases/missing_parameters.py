"""Parameters missing from the optimiser: a part of the network is never trained."""

import torch

from gradlab.mistakes.building_blocks import digits_batches, small_network, step
from gradlab.mistakes.measures import measure_moved_weights
from gradlab.mistakes.mistake import Bound, Mistake, Program


def broken(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.3)
    return Program(step, model, optimizer, digits_batches())


def fixed(seed: int = 0) -> Program:
    model = small_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Program(step, model, optimizer, digits_batches())


MISTAKE = Mistake(
    name="missing_parameters",
    title="parameters missing from the optimiser",
    why="`backward` computes a gradient for every weight, but `step` updates only the weights that "
    "the optimiser holds. The other weights stay random, and the later layers learn from their "
    "random outputs.",
    fix="Pass all of `model.parameters()` to the optimiser, or a group for every part.",
    broken=broken,
    fixed=fixed,
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/optim.html#constructing-it",
)
