"""A summed loss: the step grows with the batch."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, on_digits
from gradlab.mistakes.measures import accuracy
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
    why="The gradient is that of the mean times the batch size, here 64, so a learning rate that "
    "is right for one batch size is wrong for every other. Clipping and weight decay shift with "
    "it.",
    fix='Use `reduction="mean"`, which is the default, or divide by the number of samples.',
    broken=partial(on_digits, broken_step),
    fixed=partial(on_digits, fixed_step),
    symptom=accuracy,
    holds=Bound(low=75),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
)
