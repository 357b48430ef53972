"""No `zero_grad`: every step adds its gradient to all those before it."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, on_digits
from gradlab.mistakes.measures import last_loss
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
    why="`backward` adds to `.grad`. Without `zero_grad` a step follows the sum of all gradients "
    "so far, most of them taken at weights that are long gone: like momentum that never fades.",
    fix="Call `optimizer.zero_grad()` once per update, before `backward`.",
    broken=partial(on_digits, broken_step),
    fixed=partial(on_digits, fixed_step),
    symptom=last_loss,
    holds=Bound(high=0.5),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html",
)
