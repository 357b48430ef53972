"""`gradlab.doctor`: the findings of rules and experiments on a training, in the order of trust."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from gradlab.debugger.experiments.custom_backward import by_hand
from gradlab.debugger.experiments.learning_rate import helped, rates
from gradlab.debugger.experiments.summed_loss import summed
from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Backward, Trace
from gradlab.debugger.rules.all import RULES
from gradlab.debugger.targets.step import Given, Step
from gradlab.debugger.targets.training import Subject
from gradlab.errors import ExaminationError

UPDATES = 5  # of the first observation
DOUBTED = "large_weights"  # told only if smaller weights are seen to help


def doctor(step: Step, model: nn.Module, optimizer: Optimizer, batch: Any) -> list[Finding]:
    """Look for mistakes in a training step; return them, none if the step is right.

    The step is run a few times, as step(model, optimizer, batch), while everything that it does is
    watched. Then all that can be reached from it (weights, gradients, optimisers, schedules, lists,
    random generators) is put back, bit by bit.

    >>> import torch
    >>> def step(model, optimizer, batch):
    ...     x, y = batch
    ...     loss = torch.nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> [each.kind for each in doctor(step, model, optimizer, (torch.ones(4, 3), torch.ones(4, 1)))]
    ['no_zero_grad']

    Args:
        step: makes one update, or part of one, if it accumulates; what it returns is not used.
        model: what is trained.
        optimizer: what moves it.
        batch: one batch (a tensor, tuple, dict, or list of tensors), or an iterable of batches.

    Raises:
        ExaminationError: the step fails, or trains nothing; no mistake that is known explains it.
    """
    return examine(Given(step, model, optimizer, batch))


def examine(subject: Subject, trace: Trace | None = None) -> list[Finding]:
    """Watch a training, apply all rules, and try what watching cannot tell.

    `trace` is of the first observation, if it has been made.

    Raises:
        ExaminationError: the training fails or makes no update, and no rule can say why.
    """
    trace = trace or subject.run(UPDATES)
    found = [each for rule in RULES for each in rule(trace)] + by_hand(trace)
    if not found:
        _check_trained(trace)
    doubt = [each for each in found if each.kind == DOUBTED]
    sure = [each for each in found if each.kind != DOUBTED]
    if trace.failure is None:
        sure += [] if sure else summed(subject, trace)
        sure += helped(subject, doubt) if sure else rates(subject, trace, doubt)
    return sure


def _check_trained(trace: Trace) -> None:
    failure = trace.failure
    if failure is not None:
        at = f"{failure.place}: " if failure.place.line else ""
        said = f"{at}{failure.kind}: {failure.message}"
        raise ExaminationError(f"the training fails, by no mistake that is known: {said}")
    if not trace.updates:
        said = "though backward passes are" if trace.all(Backward) else "nor any backward pass"
        raise ExaminationError(f"expected a training, but optimizer.step() is not run, {said}")
