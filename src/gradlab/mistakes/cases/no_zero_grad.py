"""No `zero_grad`: every step adds its gradient to all earlier gradients."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import measure_last_loss
from gradlab.mistakes.mistake import Bound, Mistake


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    loss = cross_entropy(model(x), y)
    loss.backward()
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
    name="no_zero_grad",
    title="no `zero_grad`",
    why="`backward` adds to `.grad`. Without `zero_grad`, a step uses the sum of all gradients so "
    "far, and most of them belong to old weights. The effect is momentum without decay.",
    fix="Call `optimizer.zero_grad()` once per update, before `backward`.",
    broken=partial(digits_program, broken_step),
    fixed=partial(digits_program, fixed_step),
    symptom=measure_last_loss,
    bound=Bound(high=0.5),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html",
)
