"""Trials are trained in stacks: all that differ in seed, initialisation and clipping at once."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from gradlab.config.interrupt import described
from gradlab.config.settings import Settings, check_data
from gradlab.cure import judge
from gradlab.cure.trial import Member, Trial, failed
from gradlab.data.dataset import Dataset, load
from gradlab.diagnosis.grid import Grid, gained
from gradlab.errors import GradlabError
from gradlab.recording.rows import Outcome
from gradlab.report.reduce import layer_means
from gradlab.sinks.memory import Memory
from gradlab.sinks.progress import Progress
from gradlab.sinks.protocol import RunInfo
from gradlab.training.loop import Loop

MEMORY = 2**30  # bytes that a stack may take, as far as one can tell before it is built


def stacks(members: Sequence[Member]) -> list[list[Member]]:
    """Group members that can be trained as one, in order, as many as fit in memory."""
    groups: list[list[Member]] = []
    for member in members:
        shape = member.settings.stackable()
        for group in groups:
            fits = (len(group) + 1) * size(member.settings) <= MEMORY
            if fits and group[0].settings.stackable() == shape:
                group.append(member)
                break
        else:
            groups.append([member])
    return groups


def size(settings: Settings) -> int:
    """Return about how many bytes a member takes: a dozen copies of its numbers."""
    model, rows = settings.model, settings.train.batch_size
    layer = model.width * (model.width + 1) + rows * model.width
    return 12 * 8 * (model.depth + 2) * layer


def train(members: Sequence[Member], stop: Callable[[], bool]) -> list[Trial]:
    """Train members as one stack; return a trial of each, or none if `stop` ended it early.

    If the stack fails, its halves are tried, so that no member harms another.
    """
    try:
        return list(_train(members, stop))
    except (Exception, SystemExit) as error:  # of a module or a choice of the user's own, too
        if len(members) > 1:
            half = len(members) // 2
            parts = [train(part, stop) for part in (members[:half], members[half:])]
            return [] if stop() else [trial for part in parts for trial in part]
        told = str(error) if isinstance(error, GradlabError) else described(error)
        return [failed(members[0], told)]


def _train(members: Sequence[Member], stop: Callable[[], bool]) -> Iterator[Trial]:
    first = members[0].settings
    dataset = load(first)
    check_data(first, len(dataset.x_train), dataset.task)
    kept = [Memory() for _ in members]
    progress = Progress()
    progress.open(RunInfo(steps=first.train.steps))
    try:
        loop = Loop(
            [each.settings for each in members],
            dataset,
            [[sink, progress] if sink is kept[0] else [sink] for sink in kept],
        )
        outcomes = loop.run(stop)
    finally:
        progress.finish({})
    if any(outcome.status == "interrupted" for outcome in outcomes):
        return
    blind = _blind(first, dataset)
    tests = loop.evaluate()
    for member, sink, outcome, test in zip(members, kept, outcomes, tests, strict=True):
        yield _judged(member, sink, outcome, test, blind / member.unit)


def _judged(
    member: Member, kept: Memory, outcome: Outcome, test: dict[str, float | None], blind: float
) -> Trial:
    layers, steps = kept.layers(), kept.steps()
    found = judge.findings(layers, steps, member.settings.flat)
    diverged = outcome.status == "diverged"
    profile = layer_means(layers)
    return Trial(
        member.remedy,
        member.settings.seed,
        judge.kinds(found, diverged),
        judge.gravity(found, diverged),
        (steps["loss"] / member.unit).tolist(),
        gained(Grid(layers)),
        profile.assign(delta_norm=profile["delta_norm"] - math.log10(member.unit)),
        None if test["loss"] is None else test["loss"] / member.unit,
        test["accuracy"],
        blind,
    )


def _blind(settings: Settings, dataset: Dataset) -> float:
    zeros = torch.zeros(len(dataset.y_train), dataset.n_out, dtype=torch.float64)
    return float(settings.loss.component.call(zeros, dataset.y_train)) * settings.loss.scale
