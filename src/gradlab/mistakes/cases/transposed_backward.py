"""A hand-written backward pass with a transposed matrix: square matrices raise no error."""

from typing import Any

import torch
from torch import Tensor, nn

from gradlab.gradcheck.gradients import check_gradients
from gradlab.mistakes.building_blocks import digits_batches, step
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom, seeded


class BrokenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor) -> Tensor:
        ctx.save_for_backward(x, W)
        return x @ W.T

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (delta,), (x, W) = grad_outputs, ctx.saved_tensors
        return delta @ W.T, delta.T @ x


class FixedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor) -> Tensor:
        ctx.save_for_backward(x, W)
        return x @ W.T

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (delta,), (x, W) = grad_outputs, ctx.saved_tensors
        return delta @ W, delta.T @ x


class Square(nn.Module):
    def __init__(self, linear: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.linear = linear
        self.W = nn.Parameter(torch.randn(64, 64) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear.apply(x, self.W)


def build(linear: type[torch.autograd.Function], seed: int) -> Program:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), Square(linear), nn.Linear(64, 10))
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.1), digits_batches())


def broken(seed: int = 0) -> Program:
    return build(BrokenLinear, seed)


def fixed(seed: int = 0) -> Program:
    return build(FixedLinear, seed)


def measure(program: Program) -> Symptom:
    x, y = program.batches[0]
    report = check_gradients(
        program.model, x[:8], y[:8], loss=nn.functional.cross_entropy, samples=5
    )
    worst = max(row.worst for row in report.rows if row.worst == row.worst)
    return Symptom("largest relative error of a gradient, against finite differences", worst)


MISTAKE = Mistake(
    name="transposed_backward",
    title="a transposed matrix in a hand-written backward pass",
    why="For z = x Wᵀ and delta = dLoss/dz, the chain rule gives dLoss/dx = delta W. With Wᵀ the "
    "shapes still fit if W is square. The gradient of W itself is right, but the gradients of"
    " all layers before it are wrong. (`gradlab doctor` reports it as `wrong_backward`.)",
    fix="Check a hand-written backward pass: `gradlab.check_gradients`, or "
    "`torch.autograd.gradcheck`.",
    broken=broken,
    fixed=fixed,
    symptom=measure,
    bound=Bound(high=1e-4),
    code=(BrokenLinear, FixedLinear),
    source="https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-autograd",
)
