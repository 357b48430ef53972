"""Each module on its own: where, in a torch module, an error enters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from gradlab.check.comparison import Options, Row, compare
from gradlab.check.observe import Call, tensors
from gradlab.check.problem import Problem
from gradlab.errors import CheckError
from gradlab.reference.differences import noise_of

FEW = 4  # elements of each array, where a module is checked on its own


def check_calls(calls: Sequence[Call], options: Options) -> dict[str, Row]:
    """Check each module on its own, from a random gradient at its output: rows by module name.

    A module's row is the worst of its arrays'. The innermost modules that are wrong are where
    errors enter; a module that is wrong while its children are right has the error in its own
    forward.
    """
    rows: dict[str, Row] = {}
    for call in calls:
        if call.name in rows:
            continue
        try:
            found = list(_check_call(call, options))
        except (CheckError, RuntimeError):  # not a function of tensors that stands alone
            continue
        if found:
            rows[call.name] = max(
                found, key=lambda row: (row.wrong, row.worst == row.worst, row.worst)
            )
    return rows


def _check_call(call: Call, options: Options) -> Iterator[Row]:
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
        grad = grads[name]
        claimed = np.zeros_like(array) if grad is None else grad
        label = f"{_called(call)}: {name.removeprefix('module.')}"
        yield compare(label, problem.value, array, claimed, noise_of(problem.value, array), few)


def _called(call: Call) -> str:
    kind = type(call.module).__name__
    return f"{call.name} ({kind})" if call.name else kind


class _Called(nn.Module):
    """A module as a function of the floating tensors that it was called with."""

    def __init__(self, call: Call) -> None:
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


def places(rows: Sequence[Row], local: Mapping[str, Row], called: Sequence[str]) -> list[str]:
    """Say where errors enter: the innermost modules that are wrong on their own, last first."""
    wrong = [name for name, row in local.items() if row.wrong]
    places: list[str] = []
    for name in reversed(wrong):
        inside = [other for other in called if _within(other, name)]
        if any(other in wrong for other in inside):
            continue
        if not inside:
            places.append(local[name].name)
            continue
        # Its parts are right. What it does between them is not: after the last one that gets a
        # wrong gradient.
        owners = {row.name.rpartition(".")[0] for row in rows if row.wrong}
        late = max((i for i, other in enumerate(inside) if other in owners), default=None)
        where = "" if late is None else f", after {inside[late]}"
        if late is not None and late + 1 < len(inside):
            where += f" and before {inside[late + 1]}"
        places.append(
            f"{local[name].name.split(':')[0]}, in its own forward{where}: its parts are right"
        )
    return places


def _within(name: str, parent: str) -> bool:
    return name != parent and name.startswith(f"{parent}." if parent else "")
