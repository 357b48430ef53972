"""The check of a torch module: autograd against differences, on a float64 copy on the CPU."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from gradlab.check.calls import check_calls, places
from gradlab.check.comparison import Options, Row, compare
from gradlab.check.problem import Problem, TorchLoss, one_thread
from gradlab.check.report import GradientReport
from gradlab.reference.differences import noise_of


def check_module(
    model: nn.Module, inputs: Sequence[Any], target: Any, loss: TorchLoss, options: Options
) -> GradientReport:
    """Check the gradient of loss(model(*inputs), target) in every parameter and floating input.

    The model itself is left as it is. Whatever draws from torch's generator, such as dropout, draws
    the same numbers at each evaluation.

    Raises:
        CheckError: there is no gradient that could be checked; the message says why.
    """
    with one_thread():
        return _check(Problem(model, inputs, target, loss, options.seed), options)


def _check(problem: Problem, options: Options) -> GradientReport:
    grads, observer = problem.gradients()
    rows: list[Row] = []
    options = options.beside(grads.values())
    for name, array in problem.arrays.items():
        grad = grads[name]
        claimed = np.zeros_like(array) if grad is None else grad
        how = options.of_parameters() if name in problem.parameters else options
        row = compare(name, problem.value, array, claimed, noise_of(problem.value, array), how)
        rows.append(row if grad is not None else _without_gradient(row))
    notes = problem.notes()
    if all(row.resolved and not row.wrong for row in rows):
        return GradientReport(rows, options, notes=notes)
    local = check_calls(observer.calls, options)
    where = places(rows, local, [call.name for call in observer.calls])
    return GradientReport(rows, options, list(local.values()), where, notes)


def _without_gradient(row: Row) -> Row:
    said = "no gradient arrives, but the loss depends on it: detached?"
    if not row.wrong:
        said = "has no gradient: the loss does not depend on it"
    return replace(row, problem=said)
