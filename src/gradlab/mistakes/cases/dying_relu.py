"""A large negative bias: ReLUs that are off for every sample, for good."""

import torch
from torch import Tensor, nn

from gradlab.mistakes.material import digits_batches, small_net, step, the_digits
from gradlab.mistakes.measures import share
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom


def broken(seed: int = 0) -> Practice:
    model = small_net(seed)
    nn.init.constant_(model[0].bias, -10.0)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def fixed(seed: int = 0) -> Practice:
    model = small_net(seed)
    nn.init.constant_(model[0].bias, 0.0)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def dead(model: nn.Sequential) -> Tensor:
    return (model[:2](the_digits().x_train.float()) == 0).all(0)


def symptom(practice: Practice) -> Symptom:
    return Symptom(
        "hidden units that are 0 for every digit, after 66 steps", share(practice, 66, dead), "%"
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
