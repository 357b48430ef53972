"""Clipping before `backward`: there is no gradient yet."""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import MAX_NORM, Batch, with_an_outlier
from gradlab.mistakes.measures import longest_of_clipped
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
    why="Right after `zero_grad` every `.grad` is None, so there is nothing to clip, and "
    "`clip_grad_norm_` does not complain. What `backward` brings then reaches `step` in full.",
    fix="Clip between `backward` and `step`.",
    broken=partial(with_an_outlier, broken_step),
    fixed=partial(with_an_outlier, fixed_step),
    symptom=longest_of_clipped,
    holds=Bound(high=1.01),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",
)
