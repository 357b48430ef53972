"""Networks and training loops without gradlab, and reference gradients by autograd."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


def mlp(dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 12),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Linear(12, 10),
        nn.ReLU(inplace=True),
        nn.Linear(10, 3),
    ).to(dtype)


def batches(count: int, size: int = 8, dtype: torch.dtype = torch.float32) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 6, generator=generator, dtype=dtype),
            torch.randint(3, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Sequence[Batch]) -> None:
    for batch in data:
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()


def gradients(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """Return the gradients of a copy of the model, by autograd."""
    twin = copy.deepcopy(model)
    twin.zero_grad()
    loss(twin).backward()
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


def error_signals(model: nn.Sequential, loss: Callable[[Tensor], Tensor], x: Tensor) -> list[float]:
    """Return ‖dLoss/dz‖ of each Linear of a Sequential, by `retain_grad`."""
    outputs: list[Tensor] = []
    for module in copy.deepcopy(model):
        x = module(x.clone())
        if isinstance(module, nn.Linear):
            x.retain_grad()
            outputs.append(x)
    loss(x).backward()
    return [float(z.grad.double().norm()) for z in outputs]
