"""`.data` in the path: autograd does not see what is done through it."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, digits_batches, small_net
from gradlab.mistakes.measures import slope
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Step, Symptom


def broken_step(model: nn.Sequential, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    features = model[:2](x)
    features.data /= features.data.norm(dim=1, keepdim=True)
    loss = cross_entropy(10 * model[2](features), y)
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Sequential, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    features = model[:2](x)
    features = features / features.norm(dim=1, keepdim=True)
    loss = cross_entropy(10 * model[2](features), y)
    loss.backward()
    optimizer.step()
    return loss


def practice(step: Step, seed: int = 0) -> Practice:
    model = small_net(seed).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    return Practice(step, model, optimizer, [(x.double(), y) for x, y in digits_batches()])


def symptom(practice: Practice) -> Symptom:
    return Symptom(
        "slope of the loss along its gradient, over the gradient's norm", slope(practice)
    )


MISTAKE = Mistake(
    name="data_in_path",
    title="a value changed through `.data`",
    why="`.data` shares the values but neither the history nor the counter by which autograd "
    "notices changes. The loss is that of normalised features, the gradient that of a network "
    "without the normalisation: wrong in size and direction, and nothing is raised.",
    fix="Write the operation on the tensor itself; for weights, inside `torch.no_grad()`.",
    broken=partial(practice, broken_step),
    fixed=partial(practice, fixed_step),
    symptom=symptom,
    holds=Bound(low=0.99, high=1.01),
    code=(broken_step, fixed_step),
    source="https://pytorch.org/blog/pytorch-0_4_0-migration-guide/",
)
