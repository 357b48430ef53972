"""`.detach()` between the weights and the loss: no gradient passes it."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import measure_moved_weights
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
    why="A detached tensor has values but no history: for `backward` it is a constant. For all "
    "layers before it, `.grad` stays None, and `step` skips them without a warning.",
    fix="Detach only tensors that are logged or stored, never tensors that the loss depends on.",
    broken=partial(digits_program, broken_step),
    fixed=partial(digits_program, fixed_step),
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html",
)
