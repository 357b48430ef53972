"""log(0): a standard deviation from a ReLU is 0 sooner or later."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, deliveries_batches
from gradlab.mistakes.measures import finite
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Step, seeded


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


def practice(step: Step, seed: int = 0) -> Practice:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return Practice(step, model, optimizer, deliveries_batches())


MISTAKE = Mistake(
    name="log_of_zero",
    title="log(0)",
    why="The network predicts a mean and a standard deviation for each delivery. ReLU gives a "
    "standard deviation of exactly 0 for some; its logarithm is minus infinity, its inverse "
    "infinite, and the gradient is infinite times ReLU's derivative of 0, which is NaN.",
    fix="Keep the argument of `log` above 0 by construction (softplus plus a little), or predict "
    "the logarithm itself.",
    broken=partial(practice, broken_step),
    fixed=partial(practice, fixed_step),
    symptom=finite,
    holds=Bound(low=100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html",
)
