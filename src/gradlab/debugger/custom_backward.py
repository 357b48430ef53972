"""Checks the user's `torch.autograd.Function`s with finite differences, at observed arguments."""

from typing import Any

import torch
from torch import Tensor, nn

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import CustomFunctionCall
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.sandbox.isolation import isolated
from gradlab.debugger.sandbox.snapshot import restored
from gradlab.errors import CheckError
from gradlab.gradcheck.gradient_report import Row
from gradlab.gradcheck.gradients import check_gradients
from gradlab.gradcheck.problem import tensors

SAMPLES, CALLS = 10, 2  # checked elements of each argument, and checked calls of each function
NUDGE = 1e-9  # a relative change that does not change the result of a piecewise constant function


def find_wrong_backwards(trace: Trace) -> list[CodeFinding]:
    """Find functions whose backward pass is not the derivative of their forward pass.

    Only arguments that require a gradient are checked. Two kinds of functions differ by design and
    give no finding. Their forward pass is the identity (reversed or scaled gradients), or piecewise
    constant in an argument (straight-through estimators).

    Returns:
        The findings, one per function.
    """
    found: dict[Any, CodeFinding] = {}
    times: dict[Any, int] = {}
    for call in trace.all(CustomFunctionCall):
        times[call.function] = times.get(call.function, 0) + 1
        if times[call.function] > CALLS or call.function in found:
            continue
        with restored(), isolated():  # the user's code runs again
            rows = _wrong_rows(call)
        if rows:
            found[call.function] = _finding(call, rows)
    return [*found.values()]


class _FunctionModule(nn.Module):
    """A function as a module of its arguments that require a gradient, in float64."""

    def __init__(self, call: CustomFunctionCall) -> None:
        super().__init__()
        self.call = call

    def forward(self, *inputs: Tensor) -> Any:
        values = iter(inputs)
        return self.call.function.apply(
            *(next(values) if _requires_grad(arg) else _to_float64(arg) for arg in self.call.args)
        )


def _wrong_rows(call: CustomFunctionCall) -> list[Row]:
    inputs = tuple(_to_float64(each) for each in call.args if _requires_grad(each))
    weights: list[Tensor] = []

    def project(output: Any, target: Any) -> Tensor:
        outputs = tensors(output)
        if not weights:
            generator = torch.Generator().manual_seed(0)
            weights.extend(torch.randn(t.shape, generator=generator).double() for t in outputs)
        return torch.stack([(w * t).sum() for w, t in zip(weights, outputs, strict=True)]).sum()

    if not inputs or _differs_by_design(call, inputs):
        return []
    try:
        report = check_gradients(_FunctionModule(call), inputs, None, loss=project, samples=SAMPLES)
    except (CheckError, RuntimeError, TypeError, ValueError):
        return []  # the function does not run alone in float64: it cannot be checked
    return [row for row in report.rows if row.wrong and row.numeric != 0 and row.name != ""]


def _differs_by_design(call: CustomFunctionCall, inputs: tuple[Tensor, ...]) -> bool:
    """Return whether the forward pass is the identity, or piecewise constant in an argument."""

    def outputs(*changed: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return tensors(_FunctionModule(call)(*(each.clone() for each in changed)))

    try:
        now = outputs(*inputs)
        nudged = [outputs(*inputs[:i], _nudge(x), *inputs[i + 1 :]) for i, x in enumerate(inputs)]
    except Exception:  # any error of the user's function when it is called again
        return True
    is_identity = all(any(_is_close(out, x) for x in inputs) for out in now)
    return is_identity or any(all(map(torch.equal, now, then)) for then in nudged)


def _nudge(x: Tensor) -> Tensor:
    """Return x with a small change, different in each entry: softmax ignores a common shift."""
    ramp = torch.arange(1, x.numel() + 1, dtype=x.dtype, device=x.device).reshape(x.shape)
    return x + NUDGE * (1 + x.abs()) * ramp / x.numel()


def _is_close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad


def _to_float64(value: Any) -> Any:
    is_real = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().double() if is_real else value


def _finding(call: CustomFunctionCall, rows: list[Row]) -> CodeFinding:
    worst = max(rows, key=lambda row: row.worst)
    shape = list(next(each for each in call.args if _requires_grad(each)).shape)
    return CodeFinding(
        "wrong_backward",
        f"the backward pass of {call.function.__name__} is not the derivative of its forward pass",
        f"{call.line}: {call.line.code}",
        f"argument '{worst.name}' (first of shape {shape}): backward gives {worst.analytic:.4g}, "
        f"finite differences give {worst.numeric:.4g}",
        "the transposed Jacobian times the gradient (y = x @ W.T: dx = dy @ W, dW = dy.T @ x); "
        "check it with gradlab.check_gradients",
    )
