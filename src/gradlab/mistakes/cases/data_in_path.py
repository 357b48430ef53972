"""`.data` between the weights and the loss: autograd does not see the change."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_batches, small_network
from gradlab.mistakes.measures import measure_slope
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step, Symptom


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


def build(step: Step, seed: int = 0) -> Program:
    model = small_network(seed).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    return Program(step, model, optimizer, [(x.double(), y) for x, y in digits_batches()])


def measure(program: Program) -> Symptom:
    return Symptom(
        "measured slope of the loss along the gradient / slope that the gradient predicts",
        measure_slope(program),
    )


MISTAKE = Mistake(
    name="data_in_path",
    title="a value changed through `.data`",
    why="A change through `.data` changes the values, but autograd does not notice it. In the "
    "example, the program normalises the features through `.data`: the loss uses the "
    "normalised features, and the gradient ignores the normalisation. The gradient is wrong "
    "in size and direction, and torch raises no error.",
    fix="Write the operation on the tensor itself; for weights, inside `torch.no_grad()`.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure,
    bound=Bound(low=0.99, high=1.01),
    code=(broken_step, fixed_step),
    source="https://pytorch.org/blog/pytorch-0_4_0-migration-guide/",
)
