"""log(0): a standard deviation computed by a ReLU can be exactly 0."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, delivery_batches
from gradlab.mistakes.measures import measure_finite_weights
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step, seeded


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    mean, s = model(x).unbind(1)
    std = relu(s)
    loss = (torch.log(std) + 0.5 * ((y - mean) / std) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    mean, s = model(x).unbind(1)
    std = softplus(s) + 1e-3
    loss = (torch.log(std) + 0.5 * ((y - mean) / std) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def build(step: Step, seed: int = 0) -> Program:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return Program(step, model, optimizer, delivery_batches())


MISTAKE = Mistake(
    name="log_of_zero",
    title="log(0)",
    why="In the example, a network predicts the time of a delivery, as a mean and a standard "
    "deviation. ReLU returns a standard deviation of exactly 0 for some deliveries. Its "
    "logarithm and its inverse are infinite. The gradient is infinity times ReLU's derivative"
    " 0, which is NaN.",
    fix="Keep the argument of `log` above 0 by construction (softplus plus a small constant), or "
    "predict the logarithm itself.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure_finite_weights,
    bound=Bound(100, 100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html",
)
