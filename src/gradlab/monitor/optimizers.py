"""The optimisers of a watched network, and what they hold."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from gradlab.errors import WatchError


def optimizers_of(
    given: Optimizer | Sequence[Optimizer] | None, network: nn.Module
) -> list[Optimizer] | None:
    """Return the optimisers themselves, out of what accelerate or Lightning wrap around them.

    Raises:
        WatchError: one is no optimiser, or none of this network's.
    """
    if given is None:
        return None
    found = [_inner(each) for each in (given if isinstance(given, Sequence) else [given])]
    if not found:
        raise WatchError("expected an optimiser, or none for any, given an empty list")
    ours = {id(p) for p in network.parameters()}
    for each in found:
        if not ours & {id(p) for p in parameters_of(each)}:
            raise WatchError(
                f"expected an optimiser of the model's parameters, but {type(each).__name__} holds "
                "none of them; it may have been made before they were moved or replaced"
            )
    return found


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all that an optimiser holds."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def setting(optimizer: Optimizer, key: str) -> float:
    """Return what an optimiser's first group has under a key; NaN if that is no number."""
    value = optimizer.param_groups[0].get(key)
    return float(value) if isinstance(value, int | float | Tensor) else math.nan


def holds_inf(optimizer: Optimizer) -> bool:
    """Say whether a fused optimiser was told by a `GradScaler` to make no update."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and float(found) > 0


def _inner(optimizer: Optimizer) -> Optimizer:
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise WatchError(f"expected a torch.optim.Optimizer, given {type(optimizer).__name__}")
    return optimizer
