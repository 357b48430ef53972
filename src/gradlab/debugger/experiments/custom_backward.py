"""Backward passes written by hand, checked against finite differences where they were called."""

from typing import Any

import torch
from torch import Tensor, nn

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import HandWritten, Trace
from gradlab.debugger.sandbox.isolation import apart
from gradlab.debugger.sandbox.snapshot import kept
from gradlab.errors import CheckError
from gradlab.gradcheck.gradient_report import Row
from gradlab.gradcheck.gradients import check_gradients
from gradlab.gradcheck.problem import tensors

SAMPLES, CALLS = 10, 2  # elements of each argument, and calls of each function, that are checked
NUDGE = 1e-9  # of an argument: a function that is piecewise constant does not feel it


def by_hand(trace: Trace) -> list[Finding]:
    """Functions whose backward pass is not the derivative of their forward pass.

    Only arguments that ask for a gradient are looked at. Silent on functions that are meant to
    differ: where the forward pass is the identity (reversed or scaled gradients), or piecewise
    constant in an argument (straight-through estimators).
    """
    found: dict[Any, Finding] = {}
    times: dict[Any, int] = {}
    for call in trace.all(HandWritten):
        times[call.function] = times.get(call.function, 0) + 1
        if times[call.function] > CALLS or call.function in found:
            continue
        with kept(), apart():  # it is the user's code, once more
            rows = _wrong(call)
        if rows:
            found[call.function] = _finding(call, rows)
    return [*found.values()]


class _Applied(nn.Module):
    """A function as a module of those of its arguments that ask for a gradient, in float64."""

    def __init__(self, call: HandWritten) -> None:
        super().__init__()
        self.call = call

    def forward(self, *given: Tensor) -> Any:
        values = iter(given)
        return self.call.function.apply(
            *(next(values) if _is_wanted(each) else _double(each) for each in self.call.args)
        )


def _wrong(call: HandWritten) -> list[Row]:
    inputs = tuple(_double(each) for each in call.args if _is_wanted(each))
    weights: list[Tensor] = []

    def project(output: Any, target: Any) -> Tensor:
        outputs = tensors(output)
        if not weights:
            generator = torch.Generator().manual_seed(0)
            weights.extend(torch.randn(t.shape, generator=generator).double() for t in outputs)
        return torch.stack([(w * t).sum() for w, t in zip(weights, outputs, strict=True)]).sum()

    if not inputs or _is_meant(call, inputs):
        return []
    try:
        report = check_gradients(_Applied(call), inputs, None, loss=project, samples=SAMPLES)
    except (CheckError, RuntimeError, TypeError, ValueError):
        return []  # not a function that stands alone in float64: nothing is said of it
    return [row for row in report.rows if row.wrong and row.numeric != 0 and row.name != ""]


def _is_meant(call: HandWritten, inputs: tuple[Tensor, ...]) -> bool:
    """Say whether the backward pass of a function is another one than its derivative by design."""

    def outputs(*changed: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return tensors(_Applied(call)(*(each.clone() for each in changed)))

    try:
        now = outputs(*inputs)
        nudged = [outputs(*inputs[:i], _nudged(x), *inputs[i + 1 :]) for i, x in enumerate(inputs)]
    except Exception:  # whatever the user's function raises when it is called once more
        return True
    is_identity = all(any(_is_close(out, x) for x in inputs) for out in now)
    return is_identity or any(all(map(torch.equal, now, then)) for then in nudged)


def _nudged(x: Tensor) -> Tensor:
    """Return x moved by a little, and each entry by another: softmax does not feel a shift."""
    ramp = torch.arange(1, x.numel() + 1, dtype=x.dtype, device=x.device).reshape(x.shape)
    return x + NUDGE * (1 + x.abs()) * ramp / x.numel()


def _is_close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b)


def _is_wanted(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad


def _double(value: Any) -> Any:
    is_real = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().double() if is_real else value


def _finding(call: HandWritten, rows: list[Row]) -> Finding:
    worst = max(rows, key=lambda row: row.worst)
    shape = list(next(each for each in call.args if _is_wanted(each)).shape)
    return Finding(
        "wrong_backward",
        f"the backward pass of {call.function.__name__} is not the derivative of its forward pass",
        f"{call.place}: {call.place.code}",
        f"argument '{worst.name}' (first of shape {shape}): backward says {worst.analytic:.4g}, "
        f"finite differences say {worst.numeric:.4g}",
        "the transposed Jacobian times the gradient (y = x @ W.T: dx = dy @ W, dW = dy.T @ x); "
        "gradlab.check_gradients tells whether it is right",
    )
