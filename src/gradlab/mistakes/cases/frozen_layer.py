"""A layer that is frozen for the warm-up and never unfrozen."""

import torch

from gradlab.mistakes.building_blocks import digits_batches, small_network, step
from gradlab.mistakes.measures import measure_moved_weights
from gradlab.mistakes.mistake import Bound, Mistake, Program


def broken(seed: int = 0) -> Program:
    model, batches = small_network(seed), digits_batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model[0].requires_grad_(False)  # while the head warms up
    for batch in batches[:5]:
        step(model, optimizer, batch)
    return Program(step, model, optimizer, batches)


def fixed(seed: int = 0) -> Program:
    model, batches = small_network(seed), digits_batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model[0].requires_grad_(False)  # while the head warms up
    for batch in batches[:5]:
        step(model, optimizer, batch)
    model[0].requires_grad_(True)
    return Program(step, model, optimizer, batches)


MISTAKE = Mistake(
    name="frozen_layer",
    title="a frozen layer forgotten",
    why="`requires_grad_(False)` stays in effect until the code reverts it. The optimiser still "
    "holds the layer, and skips it at every step because it has no gradient.",
    fix="Call `requires_grad_(True)` where the warm-up ends.",
    broken=broken,
    fixed=fixed,
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/notes/autograd.html#setting-requires-grad",
)
