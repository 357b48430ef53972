"""Checks the gradients of a torch module: the whole network, then each module separately."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from gradlab.errors import CheckError
from gradlab.gradcheck.comparison import compare
from gradlab.gradcheck.gradient_report import GradientReport, Options, Row
from gradlab.gradcheck.problem import (
    USER_ERRORS,
    ModuleCall,
    Problem,
    TorchLoss,
    one_thread,
    tensors,
)
from gradlab.reference.differences import Index


def check_module(
    model: nn.Module, inputs: Sequence[Any], target: Any, loss: TorchLoss, options: Options
) -> GradientReport:
    """Check the gradient of loss(model(*inputs), target) by all parameters and inputs.

    The check uses a copy; the model is not changed. Torch's generator is seeded before each
    evaluation, so dropout draws the same mask each time.

    Args:
        model: the network.
        inputs: its arguments; only floating-point tensors are checked.
        target: the second argument of the loss.
        loss: returns one number for (output, target).
        options: the options of the check.

    Returns:
        The report. If a gradient is wrong or not decided, it contains a check of each module.

    Raises:
        CheckError: no gradient can be checked; the message states the reason.
    """
    with one_thread():
        return _check_problem(Problem(model, inputs, target, loss, options.seed), options)


def _check_problem(problem: Problem, options: Options) -> GradientReport:
    grads, observer = problem.gradients()
    rows: list[Row] = []
    options = options.for_gradients(grads.values())
    modules = dict(problem.model.named_modules())
    notes = [*problem.notes(), *_embedding_notes(modules)]
    for name, array in problem.arrays.items():
        array_options = options.for_parameters() if name in problem.parameters else options
        owner, _, attribute = name.rpartition(".")
        skip = padding_row(modules.get(owner, problem.model), attribute)
        row = compare(name, problem.value, array, grads[name], array_options, skip)
        rows.append(row if grads[name] is not None else _explain_missing_gradient(row))
    if all(row.resolved and not row.wrong for row in rows):
        return GradientReport(rows, options, notes=notes)
    required = {row.name: row.where for row in rows if row.wrong and row.where is not None}
    local = check_calls(observer.calls, options, required)
    called = [call.name for call in observer.calls]
    places = locate_errors(rows, local, called)
    wrong = [row.name for row in rows if row.wrong]
    if wrong and not places:
        places = _error_of_the_loss(problem, options) or [
            f"{wrong[-1]}: no error in the sampled elements of single modules and of the loss"
        ]
    local_rows = [row for module_rows in local.values() for row in module_rows]
    covered = _resolved_locally(rows, local, called)
    return GradientReport(rows, options, local_rows, places, notes, covered)


def _error_of_the_loss(problem: Problem, options: Options) -> list[str]:
    """Return the loss as the place of an error if its gradient by the network's output is wrong."""
    loss_only = problem.loss_problem()
    if loss_only is None:
        return []
    grads, _ = loss_only.gradients()
    options = options.for_gradients(grads.values())
    for name, array in loss_only.arrays.items():
        if compare(name, loss_only.value, array, grads[name], options).wrong:
            return ["the loss: dLoss/doutput"]
    return []


def _resolved_locally(
    rows: Sequence[Row], local: Mapping[str, Sequence[Row]], called: Sequence[str]
) -> list[str]:
    """Return the arrays that only the check of their module could decide.

    Args:
        rows: the checks of the whole network.
        local: the checks of single modules, by module name.
        called: the names of the called modules.

    Returns:
        The names of the arrays.
    """
    decided = {
        f"{name}.{row.name.split(': ')[-1]}".lstrip(".")
        for name, module_rows in local.items()
        for row in module_rows
        if row.resolved
    }
    leaves = [name for name in called if not any(is_inside(other, name) for other in called)]
    if leaves and all(f"{name}.input".lstrip(".") in decided for name in leaves):
        decided.add("input")  # its gradient passes through all modules
    return [row.name for row in rows if not row.resolved and row.name in decided]


def _embedding_notes(modules: Mapping[str, nn.Module]) -> list[str]:
    """Return notes on embeddings whose gradient differs by design from the loss's derivative."""
    notes: list[str] = []
    for name, module in modules.items():
        if isinstance(module, nn.Embedding):
            if module.padding_idx is not None:
                notes.append(f"{name}: row {module.padding_idx} is padding, without a gradient")
            if module.scale_grad_by_freq or module.max_norm is not None:
                notes.append(f"{name}: scale_grad_by_freq and max_norm change the gradient")
    return notes


def _explain_missing_gradient(row: Row) -> Row:
    problem = "no gradient arrives, but the loss depends on it: detached?"
    if not row.wrong:
        problem = "has no gradient: the loss does not depend on it"
    return replace(row, problem=problem)


FEW, CALLS = 4, 3  # checked elements of each array, and checked calls of each module


def check_calls(
    calls: Sequence[ModuleCall], options: Options, required: Mapping[str, Index]
) -> dict[str, list[Row]]:
    """Check each called module separately, with a random gradient at its output.

    Args:
        calls: the calls of one forward pass.
        options: the options of the check.
        required: by parameter name, the index of an element that must be in the sample.

    Returns:
        The checks of each module's inputs and parameters, by module name.
    """
    rows: dict[str, list[Row]] = {}
    times = Counter[str]()
    for call in calls:
        times[call.name] += 1
        if times[call.name] > CALLS:
            continue
        try:
            call_rows = list(_check_call(call, options, required))
        except (CheckError, *USER_ERRORS):  # the module does not run alone on copied inputs
            continue
        rows.setdefault(call.name, []).extend(call_rows)
    return rows


def _check_call(call: ModuleCall, options: Options, required: Mapping[str, Index]) -> Iterator[Row]:
    """Check one call of a module.

    Args:
        call: the call.
        options: the options of the check.
        required: by parameter name, the index of an element that must be in the sample.

    Yields:
        One row for each input and parameter.
    """
    inputs = tensors((call.args, call.kwargs))
    generator = torch.Generator().manual_seed(options.seed)
    upstream: list[Tensor] = []

    def project(output: Any, target: Any) -> Tensor:
        outputs = tensors(output)
        if not upstream:
            upstream.extend(
                torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in outputs
            )
        return torch.stack([(u * t).sum() for u, t in zip(upstream, outputs, strict=True)]).sum()

    model = _CalledModule(call)
    problem = Problem(model, inputs, None, project, options.seed)
    grads, _ = problem.gradients()
    few = replace(
        options.for_parameters().for_gradients([*grads.values(), np.ones(1)]), samples=FEW
    )
    for name, array in problem.arrays.items():
        attribute = name.removeprefix("module.")
        label = f"{call_name(call)}: {attribute}"
        index = required.get(f"{call.name}.{attribute}" if call.name else attribute)
        skip = padding_row(call.module, attribute)
        row = compare(label, problem.value, array, grads[name], few, skip)
        if index is not None and not row.wrong:
            row = compare(label, problem.value, array, grads[name], replace(few, only=index))
        yield row


def padding_row(module: nn.Module, name: str) -> int | None:
    """Return the row of an embedding's weight that has no gradient: its padding; else None."""
    return module.padding_idx if isinstance(module, nn.Embedding) and name == "weight" else None


def call_name(call: ModuleCall) -> str:
    """Return the name and the class of a called module: `3 (Tanh)`."""
    kind = type(call.module).__name__
    return f"{call.name} ({kind})" if call.name else kind


class _CalledModule(nn.Module):
    """A module as a function of its floating-point inputs in one call."""

    def __init__(self, call: ModuleCall) -> None:
        super().__init__()
        self.module, self.call = call.module, (call.args, call.kwargs)

    def forward(self, *inputs: Tensor) -> Any:
        leaves, spec = tree_flatten(self.call)
        values = iter(inputs)
        leaves = [
            next(values) if isinstance(v, Tensor) and v.is_floating_point() else v for v in leaves
        ]
        args, kwargs = tree_unflatten(leaves, spec)
        return self.module(*args, **kwargs)


def locate_errors(
    rows: Sequence[Row], local: Mapping[str, Sequence[Row]], called: Sequence[str]
) -> list[str]:
    """Return the places where errors enter: the innermost wrong modules, last module first.

    If a module is wrong and all its submodules are right, the error is in its forward method.

    Args:
        rows: the checks of the whole network.
        local: the checks of single modules, by module name.
        called: the names of the called modules, in the order of their calls.

    Returns:
        The places, in words.
    """
    wrong = {name: [r for r in module_rows if r.wrong] for name, module_rows in local.items()}
    wrong = {name: wrong_rows for name, wrong_rows in wrong.items() if wrong_rows}
    owners = {row.name.rpartition(".")[0] for row in rows if row.wrong}
    places: list[str] = []
    for name in reversed(wrong):
        inside = [other for other in called if is_inside(other, name)]
        if any(other in wrong for other in inside):
            continue
        if not inside:
            places.append(max(wrong[name], key=lambda row: row.worst).name)
            continue
        # The error is after the last submodule with a wrong gradient.
        last = max((i for i, other in enumerate(inside) if other in owners), default=None)
        where = "" if last is None else f", after {inside[last]}"
        if last is not None and last + 1 < len(inside):
            where += f" and before {inside[last + 1]}"
        module = wrong[name][0].name.split(":")[0]
        places.append(f"{module}, in its forward method{where}: its submodules are right")
    return places


def is_inside(name: str, parent: str) -> bool:
    """Return whether a module is inside another; the root has an empty name and contains all."""
    return name != parent and name.startswith(f"{parent}." if parent else "")
