"""The logarithm of an unclipped sigmoid: infinite as soon as a logit is large."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, at_least_five_batches, confident_network
from gradlab.mistakes.measures import measure_finite_weights
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    p = torch.sigmoid(model(x))
    loss = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    z = model(x)
    loss = -(y * logsigmoid(z) + (1 - y) * logsigmoid(-z)).mean()
    loss.backward()
    optimizer.step()
    return loss


def build(step: Step, seed: int = 0) -> Program:
    model = confident_network(seed)
    return Program(
        step, model, torch.optim.SGD(model.parameters(), lr=1e-3), at_least_five_batches()
    )


MISTAKE = Mistake(
    name="unclipped_sigmoid",
    title="the logarithm of an unclipped sigmoid",
    why="The sigmoid rounds to 1 from a logit of 17 in float32, and of 8.3 in float16. Then log(1 "
    "- p) is minus infinity. For a correct output, 1 - y is 0, and the product is NaN. One such "
    "sample makes the loss NaN, and one step makes every weight NaN.",
    fix="Use `logsigmoid(z)` for log p and `logsigmoid(-z)` for log(1 - p), or BCEWithLogitsLoss.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure_finite_weights,
    bound=Bound(100, 100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.logsigmoid.html",
)
