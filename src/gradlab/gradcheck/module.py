"""The check of a torch module: autograd against differences, on a float64 copy on the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from gradlab.gradcheck.calls import check_calls, left_out, places, within
from gradlab.gradcheck.comparison import compare
from gradlab.gradcheck.problem import Problem, TorchLoss, one_thread
from gradlab.gradcheck.report import GradientReport
from gradlab.gradcheck.row import Options, Row


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
    modules = dict(problem.model.named_modules())
    notes = [*problem.notes(), *_by_design(modules)]
    for name, array in problem.arrays.items():
        how = options.of_parameters() if name in problem.parameters else options
        owner, _, own = name.rpartition(".")
        skip = left_out(modules.get(owner, problem.model), own)
        row = compare(name, problem.value, array, grads[name], how, skip)
        rows.append(row if grads[name] is not None else _without_gradient(row))
    if all(row.resolved and not row.wrong for row in rows):
        return GradientReport(rows, options, notes=notes)
    must = {row.name: row.where for row in rows if row.wrong and row.where is not None}
    local = check_calls(observer.calls, options, must)
    called = [call.name for call in observer.calls]
    where = places(rows, local, called)
    wrong = [row.name for row in rows if row.wrong]
    if wrong and not where:
        where = _at_the_loss(problem, options) or [
            f"{wrong[-1]}: each module and the loss alone seem right, as far as they were sampled"
        ]
    each = [row for found in local.values() for row in found]
    return GradientReport(rows, options, each, where, notes, _covered(rows, local, called))


def _at_the_loss(problem: Problem, options: Options) -> list[str]:
    """Say so if the loss's own gradient in the network's output is wrong."""
    alone = problem.of_the_loss()
    if alone is None:
        return []
    grads, _ = alone.gradients()
    options = options.beside(grads.values())
    for name, array in alone.arrays.items():
        if compare(name, alone.value, array, grads[name], options).wrong:
            return ["the loss: dLoss/doutput"]
    return []


def _covered(
    rows: Sequence[Row], local: Mapping[str, Sequence[Row]], called: Sequence[str]
) -> list[str]:
    """Name the arrays that the whole could not resolve, and their module alone could."""
    told = {
        f"{name}.{row.name.split(': ')[-1]}".lstrip(".")
        for name, found in local.items()
        for row in found
        if row.resolved
    }
    leaves = [name for name in called if not any(within(other, name) for other in called)]
    if leaves and all(f"{name}.input".lstrip(".") in told for name in leaves):
        told.add("input")  # what reaches it has passed through them all
    return [row.name for row in rows if not row.resolved and row.name in told]


def _by_design(modules: Mapping[str, nn.Module]) -> list[str]:
    """Name the embeddings whose gradient is, by design, not that of the loss."""
    told: list[str] = []
    for name, module in modules.items():
        if isinstance(module, nn.Embedding):
            if module.padding_idx is not None:
                told.append(f"{name}: row {module.padding_idx} is padding, without a gradient")
            if module.scale_grad_by_freq or module.max_norm is not None:
                told.append(f"{name}: scale_grad_by_freq and max_norm change what is compared")
    return told


def _without_gradient(row: Row) -> Row:
    said = "no gradient arrives, but the loss depends on it: detached?"
    if not row.wrong:
        said = "has no gradient: the loss does not depend on it"
    return replace(row, problem=said)
