"""Unscaled inputs: features in different units, such as years and mg/dl."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Optimizer

from gradlab.data.dataset import Dataset
from gradlab.data.tabular import diabetes
from gradlab.mistakes.building_blocks import Batch, split_batches
from gradlab.mistakes.measures import measure_last_loss
from gradlab.mistakes.mistake import Bound, Mistake, Program, seeded


@cache
def data() -> Dataset:
    return diabetes(test_fraction=0.2)


def raw() -> tuple[Tensor, Tensor]:
    """Age in years, blood pressure in mmHg, cholesterol in mg/dl, ...; the target standardised."""
    x = data().x_train * data().x_std + data().x_mean
    return x.float(), data().y_train.float()


def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def net(seed: int) -> nn.Sequential:
    with seeded(seed):
        return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))


def broken(seed: int = 0) -> Program:
    x, y = raw()
    model = net(seed)
    return Program(
        step, model, torch.optim.SGD(model.parameters(), lr=0.03), split_batches(x, y, 32)
    )


def fixed(seed: int = 0) -> Program:
    x, y = raw()
    x = (x - x.mean(0)) / x.std(0)
    model = net(seed)
    return Program(
        step, model, torch.optim.SGD(model.parameters(), lr=0.03), split_batches(x, y, 32)
    )


MISTAKE = Mistake(
    name="unscaled_inputs",
    title="unscaled inputs",
    why="A weight's gradient is proportional to its input, and the curvature to the square of the "
    "input. A feature around 190, such as cholesterol in mg/dl, needs a learning rate tens of "
    "thousands of times smaller than a feature around 1. No single rate suits both.",
    fix="Subtract each feature's mean and divide by its standard deviation, both computed on the "
    "training set.",
    broken=broken,
    fixed=fixed,
    symptom=measure_last_loss,
    bound=Bound(high=0.75),
    code=(broken, fixed),
    source="Y. LeCun et al., Efficient BackProp (1998), section 4.3",
)
