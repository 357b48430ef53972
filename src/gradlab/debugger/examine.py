"""`gradlab.doctor`: the findings of rules and experiments on a training."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.custom_backward import wrong_backwards
from gradlab.debugger.experiments import find_learning_problem, if_smaller_weights_help, summed_loss
from gradlab.debugger.observe.events import BackwardPass
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.rules import RULES
from gradlab.debugger.targets import StepTraining, Training, TrainingStep
from gradlab.errors import ExaminationError

FIRST_STEPS = 5  # of a step at its first run
SUSPECTED = "large_weights"  # reported only if smaller weights help


def doctor(
    step: TrainingStep, model: nn.Module, optimizer: Optimizer, batch: Any
) -> list[CodeFinding]:
    """Look for mistakes in a training step and return them, none if the step is correct.

    The doctor runs the step a few times, as step(model, optimizer, batch), and observes it. Then
    it restores everything that the step can reach (weights, gradients, optimisers, schedules,
    lists, random generators) bit by bit.

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
        step: makes one update, or a part of one if it accumulates; its result is ignored.
        model: the model that is trained.
        optimizer: the optimiser of its weights.
        batch: one batch (a tensor, tuple, dict, or list of tensors), or an iterable of batches.

    Returns:
        The mistakes found, each with its kind, its place in the code, the evidence and a fix.

    Raises:
        ExaminationError: the step fails for no known mistake, or trains nothing.
    """
    return examine(StepTraining(step, model, optimizer, batch))


def examine(training: Training, trace: Trace | None = None) -> list[CodeFinding]:
    """Observe a training, apply all rules, and run experiments where rules are not enough.

    Args:
        training: the training.
        trace: of its first run, if it has been run.

    Raises:
        ExaminationError: the training fails or makes no update, and no rule explains why.
    """
    trace = trace or training.run(FIRST_STEPS)
    found = [each for rule in RULES for each in rule(trace)] + wrong_backwards(trace)
    if not found:
        _check_trained(trace)
    suspected = [each for each in found if each.kind == SUSPECTED]
    sure = [each for each in found if each.kind != SUSPECTED]
    if trace.error is None:
        sure += [] if sure else summed_loss(training, trace)
        if sure:
            sure += if_smaller_weights_help(training, suspected)
        else:
            sure += find_learning_problem(training, trace, suspected)
    return sure


def _check_trained(trace: Trace) -> None:
    error = trace.error
    if error is not None:
        at = f"{error.line}: " if error.line.line else ""
        raise ExaminationError(
            f"the training fails, and no known mistake explains it: {at}{error.kind}: "
            f"{error.message}"
        )
    if not trace.steps:
        passes = len(trace.all(BackwardPass))
        raise ExaminationError(
            f"expected a training, but optimizer.step() is not run; backward passes: {passes}"
        )
