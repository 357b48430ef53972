"""`.detach()` in the path: no gradient gets past it."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, on_digits
from gradlab.mistakes.measures import moved
from gradlab.mistakes.mistake import Bound, Mistake


def broken_step(model: nn.Sequential, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    features = model[:2](x).detach()
    loss = cross_entropy(model[2](features), y)
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Sequential, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    features = model[:2](x)
    loss = cross_entropy(model[2](features), y)
    loss.backward()
    optimizer.step()
    return loss


MISTAKE = Mistake(
    name="detach_in_path",
    title="`.detach()` between the weights and the loss",
    why="A detached tensor has the values and no history: to `backward` it is a constant. All "
    "layers before it keep `.grad` None, and `step` skips them without a word.",
    fix="Detach only what is logged or kept, never what the loss is made of.",
    broken=partial(on_digits, broken_step),
    fixed=partial(on_digits, fixed_step),
    symptom=moved,
    holds=Bound(low=100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html",
)
