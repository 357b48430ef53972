"""The check of a torch module: the whole network, then each of its modules alone."""

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
from gradlab.gradcheck.problem import REFUSALS, ModuleCall, Problem, TorchLoss, one_thread, tensors
from gradlab.reference.differences import Index


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
        return _check_problem(Problem(model, inputs, target, loss, options.seed), options)


def _check_problem(problem: Problem, options: Options) -> GradientReport:
    grads, observer = problem.gradients()
    rows: list[Row] = []
    options = options.beside(grads.values())
    modules = dict(problem.model.named_modules())
    notes = [*problem.notes(), *_by_design(modules)]
    for name, array in problem.arrays.items():
        how = options.of_parameters() if name in problem.parameters else options
        owner, _, own = name.rpartition(".")
        skip = padding_row(modules.get(owner, problem.model), own)
        row = compare(name, problem.value, array, grads[name], how, skip)
        rows.append(row if grads[name] is not None else _without_gradient(row))
    if all(row.resolved and not row.wrong for row in rows):
        return GradientReport(rows, options, notes=notes)
    must = {row.name: row.where for row in rows if row.wrong and row.where is not None}
    local = check_calls(observer.calls, options, must)
    called = [call.name for call in observer.calls]
    where = wrong_modules(rows, local, called)
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
    leaves = [name for name in called if not any(is_inside(other, name) for other in called)]
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


FEW, CALLS = 4, 3  # elements of each array, and calls, of a module that is checked on its own


def check_calls(
    calls: Sequence[ModuleCall], options: Options, must: Mapping[str, Index]
) -> dict[str, list[Row]]:
    """Check each module on its own, from a random gradient at its output: rows by module name.

    The innermost modules that are wrong are where errors enter; a module that is wrong while its
    children are right has the error in its own forward. `must` names elements of parameters that
    are checked in any case.
    """
    rows: dict[str, list[Row]] = {}
    times = Counter[str]()
    for call in calls:
        times[call.name] += 1
        if times[call.name] > CALLS:
            continue
        try:
            found = list(_check_call(call, options, must))
        except (CheckError, *REFUSALS):  # not a function of tensors that stands alone
            continue
        rows.setdefault(call.name, []).extend(found)
    return rows


def _check_call(call: ModuleCall, options: Options, must: Mapping[str, Index]) -> Iterator[Row]:
    inputs = tensors((call.args, call.kwargs))
    generator = torch.Generator().manual_seed(options.seed)
    upstream: list[Tensor] = []

    def project(output: Any, target: Any) -> Tensor:
        found = tensors(output)
        if not upstream:
            upstream.extend(torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in found)
        return torch.stack([(u * t).sum() for u, t in zip(upstream, found, strict=True)]).sum()

    model = _Called(call)
    problem = Problem(model, inputs, None, project, options.seed)
    grads, _ = problem.gradients()
    few = replace(options.of_parameters().beside([*grads.values(), np.ones(1)]), samples=FEW)
    for name, array in problem.arrays.items():
        own = name.removeprefix("module.")
        label = f"{call_name(call)}: {own}"
        at = must.get(f"{call.name}.{own}" if call.name else own)
        row = compare(label, problem.value, array, grads[name], few, padding_row(call.module, own))
        if at is not None and not row.wrong:
            row = compare(label, problem.value, array, grads[name], replace(few, only=at))
        yield row


def padding_row(module: nn.Module, name: str) -> int | None:
    """Return the row of a parameter that gets no gradient by design: an embedding's padding."""
    return module.padding_idx if isinstance(module, nn.Embedding) and name == "weight" else None


def call_name(call: ModuleCall) -> str:
    """Return a call's module by name and class."""
    kind = type(call.module).__name__
    return f"{call.name} ({kind})" if call.name else kind


class _Called(nn.Module):
    """A module as a function of the floating tensors that it was called with."""

    def __init__(self, call: ModuleCall) -> None:
        super().__init__()
        self.module, self.call = call.module, (call.args, call.kwargs)

    def forward(self, *inputs: Tensor) -> Any:
        leaves, spec = tree_flatten(self.call)
        given = iter(inputs)
        leaves = [
            next(given) if isinstance(v, Tensor) and v.is_floating_point() else v for v in leaves
        ]
        args, kwargs = tree_unflatten(leaves, spec)
        return self.module(*args, **kwargs)


def wrong_modules(
    rows: Sequence[Row], local: Mapping[str, Sequence[Row]], called: Sequence[str]
) -> list[str]:
    """Say where errors enter: the innermost modules that are wrong on their own, last first."""
    wrong = {name: [r for r in found if r.wrong] for name, found in local.items()}
    wrong = {name: found for name, found in wrong.items() if found}
    owners = {row.name.rpartition(".")[0] for row in rows if row.wrong}
    found: list[str] = []
    for name in reversed(wrong):
        inside = [other for other in called if is_inside(other, name)]
        if any(other in wrong for other in inside):
            continue
        if not inside:
            found.append(max(wrong[name], key=lambda row: row.worst).name)
            continue
        # Its parts are right. What it does between them is not: after the last one that gets a
        # wrong gradient.
        late = max((i for i, other in enumerate(inside) if other in owners), default=None)
        where = "" if late is None else f", after {inside[late]}"
        if late is not None and late + 1 < len(inside):
            where += f" and before {inside[late + 1]}"
        kind = wrong[name][0].name.split(":")[0]
        found.append(f"{kind}, in its own forward{where}: its parts are right")
    return found


def is_inside(name: str, parent: str) -> bool:
    """Say whether a module is inside another; all are inside the root, whose name is empty."""
    return name != parent and name.startswith(f"{parent}." if parent else "")
