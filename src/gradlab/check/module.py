"""The check of a torch module: autograd against differences, on a float64 copy on the CPU."""

import copy
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.check.comparison import Options, Row, compare
from gradlab.check.observe import Call, Observer, tensors
from gradlab.check.report import GradientReport
from gradlab.errors import CheckError
from gradlab.reference.activations import Array
from gradlab.reference.differences import noise_of

REFUSALS = (RuntimeError, TypeError, ValueError, IndexError)
"""What torch raises for shapes, dtypes and values that it cannot take."""

FEW = 4  # elements of each array, where a module is checked on its own

TorchLoss = Callable[[Any, Any], Any]


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


def _check(problem: "Problem", options: Options) -> GradientReport:
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
    places = _places(rows, local, [call.name for call in observer.calls])
    return GradientReport(rows, options, list(local.values()), places, notes)


class Problem:
    """loss(model(*inputs), target) as a function of arrays: a float64 copy of all of it.

    `arrays` are the parameters and floating inputs by name; they share memory with what is
    evaluated.
    """

    def __init__(
        self, model: nn.Module, inputs: Sequence[Any], target: Any, loss: TorchLoss, seed: int
    ) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not parameter.is_floating_point():
                raise CheckError(f"{name} is {parameter.dtype}: expected real numbers")
        try:
            self.model = copy.deepcopy(model).double().cpu()
        except RuntimeError as error:
            raise CheckError(f"the model cannot be copied: {_line(error)}") from error
        self.inputs = [_double(each) for each in inputs]
        self.target = _double(target)
        self.loss, self.seed = loss, seed
        self.leaves: dict[str, Tensor] = {}
        for i, each in enumerate(tensors(self.inputs)):
            self.leaves["input" if i == 0 else f"input {i + 1}"] = each.requires_grad_()
        self.parameters = [n for n, p in self.model.named_parameters() if p.requires_grad]
        self.frozen = [n for n, p in self.model.named_parameters() if not p.requires_grad]
        self.leaves |= {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.arrays: dict[str, Array] = {n: p.detach().numpy() for n, p in self.leaves.items()}

    def value(self) -> float:
        """Return the loss at what the arrays hold."""
        with torch.no_grad():
            return float(self._loss())

    def gradients(self) -> tuple[Mapping[str, Array | None], Observer]:
        """Return autograd's gradients by name, None where none arrives, and the pass's observer."""
        observer = Observer(self.model)
        with observer:
            loss = self._loss()
        first, second = self.value(), self.value()
        if first != second:
            raise CheckError(
                f"the loss is random: at the same weights it is {first:.6g}, then {second:.6g}; "
                "expected randomness from torch's generator alone, which is held fixed"
            )
        if not loss.requires_grad:
            raise CheckError("the loss does not depend on any parameter by way of autograd")
        leaves = list(self.leaves.values())
        found: Any = torch.autograd.grad(loss, leaves, allow_unused=True)  # None where none arrives
        arrays = [None if grad is None else grad.numpy() for grad in found]
        return dict(zip(self.leaves, arrays, strict=True)), observer

    def notes(self) -> list[str]:
        """Return what was not checked, or held fixed."""
        if not self.frozen:
            return []
        return [f"{', '.join(self.frozen)}: frozen, so there is no gradient to check"]

    def _loss(self) -> Tensor:
        with _seeded(self.seed):
            # A model may change its input in place; the array that is varied must stay.
            inputs = [v.clone() if isinstance(v, Tensor) else v for v in self.inputs]
            try:
                output = self.model(*inputs)
            except REFUSALS as error:
                raise CheckError(f"the model cannot be run in float64: {_line(error)}") from error
            _check_targets(output, self.target)
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", message="Using a target size")
                    loss = self.loss(output, self.target)
            except (*REFUSALS, UserWarning) as error:
                said = f"the loss refuses {_shapes(output, self.target)}"
                raise CheckError(f"{said}: {_line(error)}") from error
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            said = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise CheckError(f"expected a loss that is one number, given {said}: take its mean")
        if not loss.isfinite():
            raise CheckError(f"the loss is {float(loss)}: there is no gradient to check")
        return loss.reshape(())


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Fix what torch's generator draws, and leave it afterwards as it was."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)


@contextmanager
def one_thread() -> Generator[None]:
    """Compute on one thread: small networks are fastest so, and sums are always split alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
        from torch.utils._pytree import tree_flatten, tree_unflatten

        leaves, spec = tree_flatten(self.call)
        given = iter(inputs)
        leaves = [
            next(given) if isinstance(v, Tensor) and v.is_floating_point() else v for v in leaves
        ]
        args, kwargs = tree_unflatten(leaves, spec)
        return self.module(*args, **kwargs)


def _places(rows: Sequence[Row], local: Mapping[str, Row], called: Sequence[str]) -> list[str]:
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


def _without_gradient(row: Row) -> Row:
    said = "no gradient arrives, but the loss depends on it: detached?"
    if not row.wrong:
        said = "has no gradient: the loss does not depend on it"
    return replace(row, problem=said)


def _check_targets(output: Any, target: Any) -> None:
    """Raise CheckError for numbers that would be broadcast against an output of another shape."""
    if isinstance(output, Tensor) and isinstance(target, Tensor) and target.is_floating_point():
        numbers = target.ndim and output.ndim and target.shape != output.shape
        if numbers and target.numel() == output.numel():
            raise CheckError(
                f"targets of shape {list(target.shape)} against outputs of {list(output.shape)} "
                f"would broadcast: expected {list(output.shape)}"
            )


def _double(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().cpu().clone()
        return value.double() if value.is_floating_point() else value
    return value


def _shapes(output: Any, target: Any) -> str:
    parts = [
        f"{list(v.shape)} {str(v.dtype).removeprefix('torch.')}"
        if isinstance(v, Tensor)
        else repr(v)
        for v in (output, target)
    ]
    return f"outputs {parts[0]} with targets {parts[1]}"


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
