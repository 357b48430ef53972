"""Clipping after `step`: the update has already used the gradient."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import MAX_NORM, Batch, outlier_program
from gradlab.mistakes.measures import measure_longest_update
from gradlab.mistakes.mistake import Bound, Mistake


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
    optimizer.step()
    return loss


MISTAKE = Mistake(
    name="clip_after_step",
    title="clipping after `step`",
    why="The optimiser has already used the unclipped gradient, and the next `zero_grad` discards "
    "the clipped one. So a single batch with an outlier can move the weights by any distance.",
    fix="Clip between `backward` and `step`.",
    broken=partial(outlier_program, broken_step),
    fixed=partial(outlier_program, fixed_step),
    symptom=measure_longest_update,
    bound=Bound(high=1.01),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",
)
