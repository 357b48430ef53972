"""A summed loss: the step grows with the batch."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import measure_accuracy
from gradlab.mistakes.mistake import Bound, Mistake


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y, reduction="sum")
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y, reduction="mean")
    loss.backward()
    optimizer.step()
    return loss


MISTAKE = Mistake(
    name="summed_loss",
    title="a summed loss instead of a mean",
    why="The gradient is 64 times as large as with a mean, for a batch of 64. So a learning rate "
    "that suits one batch size is wrong for all others. The effects of clipping and weight decay "
    "change as well.",
    fix='Use `reduction="mean"`, which is the default, or divide by the number of samples.',
    broken=partial(digits_program, broken_step),
    fixed=partial(digits_program, fixed_step),
    symptom=measure_accuracy,
    bound=Bound(low=75),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
)
