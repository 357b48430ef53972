"""`gradlab.doctor`: applies rules and experiments to a training, and returns the findings."""

import re
from math import isfinite
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.custom_backward import find_wrong_backwards
from gradlab.debugger.experiments import (
    confirm_large_weights,
    find_learning_problem,
    find_summed_loss,
)
from gradlab.debugger.observe.events import BackwardPass
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.rules import RULES
from gradlab.debugger.trainings import (
    ExperimentError,
    Experiments,
    LocalExperiments,
    StepTraining,
    Training,
    TrainingStep,
)
from gradlab.errors import ExaminationError

FIRST_STEPS = 5  # observed updates of a step function
SYMPTOM = re.compile(r"the (result|gradient) exceeds .* of (bfloat16|float32|float64)")
"""An overflow of large numbers; a large learning rate or large weights may be its cause."""
SUSPECTED = "large_weights"  # reported only if smaller weights help


def doctor(
    step: TrainingStep, model: nn.Module, optimizer: Optimizer, batch: Any
) -> list[CodeFinding]:
    """Find mistakes in a training step.

    The doctor calls step(model, optimizer, batch) until it has made 5 updates, and observes them.
    If they show no mistake, it calls the step again, for up to 128 updates to find inf and NaN, and
    for experiments. It restores the state that the step can reach: weights, gradients,
    optimisers, schedules, lists, random generators. It does not restore files: what the step
    writes remains. The command `gradlab doctor` runs a program in a sandbox instead.

    Args:
        step: makes one update, or a part of an update with gradient accumulation; its result is
            ignored.
        model: the network.
        optimizer: the optimiser of its weights.
        batch: one batch (a tensor, tuple, dict, or list of tensors), or an iterable of batches.

    Returns:
        The mistakes, each with its kind, its line, the evidence and correct code. The list is
        empty if the doctor finds no mistake.

    Raises:
        ExaminationError: the step makes no update, or fails for an unknown reason.

    Example:
        >>> import torch
        >>> def step(model, optimizer, batch):
        ...     x, y = batch
        ...     loss = torch.nn.functional.mse_loss(model(x), y)
        ...     loss.backward()
        ...     optimizer.step()
        >>> model = torch.nn.Linear(3, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> batch = torch.ones(4, 3), torch.ones(4, 1)
        >>> [finding.kind for finding in doctor(step, model, optimizer, batch)]
        ['no_zero_grad']
    """
    return examine(StepTraining(step, model, optimizer, batch))


def examine(
    training: Training, trace: Trace | None = None, experiments: Experiments | None = None
) -> list[CodeFinding]:
    """Observe a training, apply all rules, and run experiments if no rule finds a mistake.

    Args:
        training: the training.
        trace: the trace of its first run; None if the training has not run yet.
        experiments: runs the training again; None for further runs in this process.

    Returns:
        The findings.

    Raises:
        ExaminationError: the training fails or makes no update, and no rule explains it.
    """
    trace = trace or training.run(FIRST_STEPS)
    found = [each for rule in RULES for each in rule(trace)] + find_wrong_backwards(trace)
    if not found:
        _check_trained(trace)
    suspected = [each for each in found if each.kind == SUSPECTED]
    confirmed = [each for each in found if each.kind != SUSPECTED]
    experiments = experiments or LocalExperiments(training)
    try:
        numbers = _nonfinite(experiments, confirmed, trace)
        confirmed += [each for each in numbers if not SYMPTOM.search(each.what)]
        if trace.error is None:
            confirmed += [] if confirmed else find_summed_loss(experiments, trace)
            if confirmed:
                confirmed += confirm_large_weights(experiments, suspected)
            else:
                confirmed += find_learning_problem(experiments, trace, suspected)
        confirmed = confirmed or numbers
    except ExperimentError:
        pass  # the training cannot run again
    except ExaminationError:
        if not confirmed:
            raise
    return confirmed


def _nonfinite(
    experiments: Experiments, found: list[CodeFinding], trace: Trace
) -> list[CodeFinding]:
    """Find the first inf or NaN of a longer run, unless another finding explains it.

    Args:
        experiments: runs the training again.
        found: the findings of the rules.
        trace: the observed steps.

    Returns:
        The finding, if there is one.
    """
    if any(each.kind in ("log_of_zero", "unclipped_sigmoid") for each in found):
        return []
    if found and all(map(isfinite, trace.losses)):
        return []
    return experiments.check_numbers()


def _check_trained(trace: Trace) -> None:
    error = trace.error
    if error is not None:
        line = f"{error.line}: " if error.line.line else ""
        raise ExaminationError(
            f"the training fails, and no known mistake explains it: {line}{error.kind}: "
            f"{error.message}"
        )
    if not trace.steps:
        passes = len(trace.all(BackwardPass))
        raise ExaminationError(
            f"expected a training, but optimizer.step() is not run; backward passes: {passes}"
        )
