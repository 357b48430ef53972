"""A large negative bias: ReLUs that are off for every sample, for good."""

import torch
from torch import nn

from gradlab.mistakes.material import digits_batches, step, the_digits
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom, seeded


def broken(seed: int = 0) -> Practice:
    with seeded(seed):
        hidden, out = nn.Linear(64, 32), nn.Linear(32, 10)
    nn.init.constant_(hidden.bias, -10.0)
    model = nn.Sequential(hidden, nn.ReLU(), out)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def fixed(seed: int = 0) -> Practice:
    with seeded(seed):
        hidden, out = nn.Linear(64, 32), nn.Linear(32, 10)
    nn.init.constant_(hidden.bias, 0.0)
    model = nn.Sequential(hidden, nn.ReLU(), out)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def symptom(practice: Practice) -> Symptom:
    train(practice, 66)
    with torch.no_grad():
        z = practice.model.get_submodule("0")(the_digits().x_train.float())
    dead = (z <= 0).all(dim=0).double().mean()
    return Symptom(
        "hidden units that are off for every digit, after 66 steps", 100 * float(dead), "%"
    )


MISTAKE = Mistake(
    name="dying_relu",
    title="ReLUs killed by a large negative bias",
    why="The pre-activation is below 0 for every sample, where ReLU's derivative is 0. No "
    "gradient reaches the unit's weights or its bias, so nothing can bring it back. (A step that "
    "is too large puts the bias there just as well.)",
    fix="Start biases at 0; leaky ReLU or GELU let some gradient through.",
    broken=broken,
    fixed=fixed,
    symptom=symptom,
    holds=Bound(high=10),
    code=(broken, fixed),
    source="L. Lu et al., Dying ReLU and initialization (2020), arXiv:1903.06733",
)
