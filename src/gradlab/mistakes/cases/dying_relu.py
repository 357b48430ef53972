"""A large negative bias: ReLUs that are 0 for every sample and never recover."""

import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_batches, digits_dataset, step
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom, seeded


def broken(seed: int = 0) -> Program:
    with seeded(seed):
        hidden, out = nn.Linear(64, 32), nn.Linear(32, 10)
    nn.init.constant_(hidden.bias, -10.0)
    model = nn.Sequential(hidden, nn.ReLU(), out)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def fixed(seed: int = 0) -> Program:
    with seeded(seed):
        hidden, out = nn.Linear(64, 32), nn.Linear(32, 10)
    nn.init.constant_(hidden.bias, 0.0)
    model = nn.Sequential(hidden, nn.ReLU(), out)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def measure(program: Program) -> Symptom:
    train(program, 66)
    with torch.no_grad():
        z = program.model.get_submodule("0")(digits_dataset().x_train.float())
    dead = (z <= 0).all(dim=0).double().mean()
    return Symptom(
        "hidden units that are off for every digit, after 66 steps", 100 * float(dead), "%"
    )


MISTAKE = Mistake(
    name="dying_relu",
    title="ReLUs killed by a large negative bias",
    why="The pre-activation is below 0 for every sample, and there ReLU's derivative is 0. No "
    "gradient reaches the unit's weights or its bias, so the unit cannot recover. (An update that "
    "is too large can have the same effect on the bias.)",
    fix="Start biases at 0; leaky ReLU or GELU let some gradient through.",
    broken=broken,
    fixed=fixed,
    symptom=measure,
    bound=Bound(high=10),
    code=(broken, fixed),
    source="L. Lu et al., Dying ReLU and initialization (2020), arXiv:1903.06733",
)
