"""The optimisers of a watched network, and what they hold."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from gradlab.errors import WatchError
from gradlab.recording.rows import NULL


class WatchedOptimizers:
    """The optimisers whose updates make a step of a network.

    Args:
        given: One optimiser or several, perhaps wrapped by accelerate or Lightning, or learning
            rate schedulers of them; None for every optimiser that updates the network.
        network: The watched network, without wrappers.

    Attributes:
        network: Likewise.
        named: The given optimisers; None for every one.
        first: The first optimiser, once it is known.
        unknown: Class of the first optimiser that updates the network and was not given.

    Raises:
        WatchError: An object is not an optimiser, or holds no parameter of the network.
    """

    def __init__(
        self, given: Optimizer | LRScheduler | Sequence[Optimizer] | None, network: nn.Module
    ) -> None:
        self.network = network
        self.named = None if given is None else self._check(given)
        self.first = self.named[0] if self.named else None
        self.unknown: str | None = None

    def includes(self, optimizer: Optimizer) -> bool:
        """Return whether the updates of an optimiser count."""
        if self.named is not None and any(optimizer is each for each in self.named):
            return True
        updates = self._updates_network(optimizer)
        if self.named is None and updates:
            self.first = self.first or optimizer
        elif updates:
            self.unknown = self.unknown or type(optimizer).__name__
        return updates and self.named is None

    def are_complete(self, stepped: Sequence[Optimizer]) -> bool:
        """Return whether the updates of these optimisers make a whole step."""
        return self.named is None or len(stepped) == len(self.named)

    def _updates_network(self, optimizer: Optimizer) -> bool:
        ours = {id(p) for p in self.network.parameters()}
        return any(id(p) in ours for p in parameters_of(optimizer))

    def _check(self, given: Any) -> list[Optimizer]:
        found = [_unwrap(each) for each in (given if isinstance(given, Sequence) else [given])]
        if not found:
            raise WatchError("expected an optimiser, or none for any, given an empty list")
        for each in found:
            if not self._updates_network(each):
                raise WatchError(
                    f"expected an optimiser of the model's parameters, but {type(each).__name__} "
                    "holds none of them; it may have been made before they were moved or replaced"
                )
        return found


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all that an optimiser holds."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def setting(optimizer: Optimizer, key: str) -> float:
    """Return what an optimiser's first group has under a key; `NULL` if that is not a number."""
    value = optimizer.param_groups[0].get(key)
    return float(value) if isinstance(value, int | float | Tensor) else NULL


def configuration(
    network: nn.Module, optimizers: Sequence[Optimizer], every: int | str
) -> dict[str, Any]:
    """Return the known settings, with the keys of a gradlab run's configuration.

    Args:
        network: The watched network.
        optimizers: Its optimisers; the first one's settings count.
        every: The recording schedule, as in `gradlab.watch`.
    """
    out: dict[str, Any] = {"model": type(network).__name__, "record.every": every}
    first = next(network.parameters(), None)
    if first is not None:
        out["train.dtype"] = str(first.dtype).removeprefix("torch.")
    if optimizers:
        out["optim"] = type(optimizers[0]).__name__.lower()
        known = {f"optim.{key}": setting(optimizers[0], key) for key in ("lr", "eps")}
        out |= {key: value for key, value in known.items() if not math.isnan(value)}
    return out


def holds_inf(optimizer: Optimizer) -> bool:
    """Say whether a fused optimiser was told by a `GradScaler` to make no update."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and float(found) > 0


def _unwrap(given: Any) -> Optimizer:
    """Return the optimiser inside a wrapper or a scheduler, which have it as `.optimizer`."""
    found = given
    while isinstance(inner := getattr(found, "optimizer", None), Optimizer):
        found = inner
    if not isinstance(found, Optimizer):
        raise WatchError(f"expected a torch.optim.Optimizer, given {type(given).__name__}")
    return found
