"""`zero_grad` between `backward` and `step`: the gradient is gone before it is used."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import measure_moved_weights
from gradlab.mistakes.mistake import Bound, Mistake


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


MISTAKE = Mistake(
    name="zero_grad_too_late",
    title="`zero_grad` between `backward` and `step`",
    why="`zero_grad` sets every `.grad` to None, and `step` skips weights without a gradient. "
    "Torch raises no error, and the loss does not change.",
    fix="Clear the gradients before `backward`, or after `step`.",
    broken=partial(digits_program, broken_step),
    fixed=partial(digits_program, fixed_step),
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html",
)
