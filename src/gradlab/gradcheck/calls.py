"""Each module on its own: where, in a torch module, an error enters."""

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
from gradlab.gradcheck.observe import Call, tensors
from gradlab.gradcheck.problem import REFUSALS, Problem
from gradlab.gradcheck.row import Options, Row
from gradlab.reference.differences import Index

FEW, CALLS = 4, 3  # elements of each array, and calls, of a module that is checked on its own


def check_calls(
    calls: Sequence[Call], options: Options, must: Mapping[str, Index]
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


def _check_call(call: Call, options: Options, must: Mapping[str, Index]) -> Iterator[Row]:
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
        label = f"{named(call)}: {own}"
        at = must.get(f"{call.name}.{own}" if call.name else own)
        row = compare(label, problem.value, array, grads[name], few, left_out(call.module, own))
        if at is not None and not row.wrong:
            row = compare(label, problem.value, array, grads[name], replace(few, only=at))
        yield row


def left_out(module: nn.Module, name: str) -> int | None:
    """Return the row of a parameter that gets no gradient by design: an embedding's padding."""
    return module.padding_idx if isinstance(module, nn.Embedding) and name == "weight" else None


def named(call: Call) -> str:
    """Return a call's module by name and class."""
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


def places(
    rows: Sequence[Row], local: Mapping[str, Sequence[Row]], called: Sequence[str]
) -> list[str]:
    """Say where errors enter: the innermost modules that are wrong on their own, last first."""
    wrong = {name: [r for r in found if r.wrong] for name, found in local.items()}
    wrong = {name: found for name, found in wrong.items() if found}
    owners = {row.name.rpartition(".")[0] for row in rows if row.wrong}
    found: list[str] = []
    for name in reversed(wrong):
        inside = [other for other in called if within(other, name)]
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


def within(name: str, parent: str) -> bool:
    """Say whether a module is inside another; all are inside the root, whose name is empty."""
    return name != parent and name.startswith(f"{parent}." if parent else "")
