"""`.item()` in the path: a number has no history, and `requires_grad=True` gives it none."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, on_digits
from gradlab.mistakes.measures import moved
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
    why="`.item()` returns a plain number. A tensor made of numbers starts a new graph: with "
    "`requires_grad=True` the error from `backward` is gone, and so is every weight's gradient.",
    fix="Add, stack or average the loss tensors themselves; call `.item()` only to print.",
    broken=partial(on_digits, broken_step),
    fixed=partial(on_digits, fixed_step),
    symptom=moved,
    holds=Bound(low=100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.Tensor.item.html",
)
