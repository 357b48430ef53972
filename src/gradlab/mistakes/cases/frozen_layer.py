"""A layer frozen for the warm-up and never thawed."""

import torch

from gradlab.mistakes.material import digits_batches, small_net, step
from gradlab.mistakes.measures import moved
from gradlab.mistakes.mistake import Bound, Mistake, Practice


def broken(seed: int = 0) -> Practice:
    model, batches = small_net(seed), digits_batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model[0].requires_grad_(False)  # while the head warms up
    for batch in batches[:5]:
        step(model, optimizer, batch)
    return Practice(step, model, optimizer, batches)


def fixed(seed: int = 0) -> Practice:
    model, batches = small_net(seed), digits_batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model[0].requires_grad_(False)  # while the head warms up
    for batch in batches[:5]:
        step(model, optimizer, batch)
    model[0].requires_grad_(True)
    return Practice(step, model, optimizer, batches)


MISTAKE = Mistake(
    name="frozen_layer",
    title="a frozen layer forgotten",
    why="`requires_grad_(False)` holds until somebody sets it back. The optimiser still lists the "
    "layer, and skips it at every step because it has no gradient.",
    fix="Call `requires_grad_(True)` where the warm-up ends.",
    broken=broken,
    fixed=fixed,
    symptom=moved,
    holds=Bound(low=100),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/notes/autograd.html#setting-requires-grad",
)
