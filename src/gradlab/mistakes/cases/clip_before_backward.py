"""Clipping before `backward`: the gradients do not exist yet."""

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
    nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
    loss.backward()
    optimizer.step()
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
    name="clip_before_backward",
    title="clipping before `backward`",
    why="After `zero_grad` every `.grad` is None, so there is nothing to clip, and "
    "`clip_grad_norm_` raises no error. The gradients of `backward` then reach `step` unclipped.",
    fix="Clip between `backward` and `step`.",
    broken=partial(outlier_program, broken_step),
    fixed=partial(outlier_program, fixed_step),
    symptom=measure_longest_update,
    bound=Bound(high=1.01),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",
)
