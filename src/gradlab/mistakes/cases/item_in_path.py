"""`.item()` between the weights and the loss: a plain number has no history."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import measure_moved_weights
from gradlab.mistakes.mistake import Bound, Mistake


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    losses = [cross_entropy(model(x), y).item()]
    loss = torch.tensor(losses, requires_grad=True).sum()
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    losses = [cross_entropy(model(x), y)]
    loss = torch.stack(losses).sum()
    loss.backward()
    optimizer.step()
    return loss


MISTAKE = Mistake(
    name="item_in_path",
    title="`.item()` between the weights and the loss",
    why="`.item()` returns a plain number. A tensor made of numbers starts a new graph. With "
    "`requires_grad=True`, `backward` raises no error, but no weight gets a gradient.",
    fix="Add, stack or average the loss tensors themselves; call `.item()` only to print.",
    broken=partial(digits_program, broken_step),
    fixed=partial(digits_program, fixed_step),
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.Tensor.item.html",
)
