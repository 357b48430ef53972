"""The optimisers of a watched network: their parameters and settings."""

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
        optimizer: One optimiser or several. Each may be wrapped by accelerate or Lightning, or be a
            learning rate scheduler. None means every optimiser that updates the network.
        network: The watched network, without wrappers.

    Attributes:
        network: The watched network.
        chosen: The chosen optimisers; None for every optimiser that updates the network.
        first: The first optimiser, once it is known.
        unknown: Class of the first optimiser that updates the network and was not chosen.

    Raises:
        WatchError: An object is not an optimiser, or has no parameter of the network.
    """

    def __init__(
        self, optimizer: Optimizer | LRScheduler | Sequence[Optimizer] | None, network: nn.Module
    ) -> None:
        self.network = network
        self.chosen = None if optimizer is None else self._check(optimizer)
        self.first = self.chosen[0] if self.chosen else None
        self.unknown: str | None = None

    def includes(self, optimizer: Optimizer) -> bool:
        """Return whether an optimiser's updates count as steps of the network."""
        if self.chosen is not None and any(optimizer is each for each in self.chosen):
            return True
        updates = self._updates_network(optimizer)
        if self.chosen is None and updates:
            self.first = self.first or optimizer
        elif updates:
            self.unknown = self.unknown or type(optimizer).__name__
        return updates and self.chosen is None

    def are_complete(self, stepped: Sequence[Optimizer]) -> bool:
        """Return whether these optimisers' updates complete a step."""
        return self.chosen is None or len(stepped) == len(self.chosen)

    def _updates_network(self, optimizer: Optimizer) -> bool:
        watched = {id(p) for p in self.network.parameters()}
        return any(id(p) in watched for p in parameters_of(optimizer))

    def _check(self, optimizer: Any) -> list[Optimizer]:
        several = optimizer if isinstance(optimizer, Sequence) else [optimizer]
        chosen = [_unwrap(each) for each in several]
        if not chosen:
            raise WatchError(
                "expected an optimiser, given an empty list; leave out the argument to record "
                "the updates by every optimiser"
            )
        for each in chosen:
            if not self._updates_network(each):
                raise WatchError(
                    f"expected an optimiser of the model's parameters, but {type(each).__name__} "
                    "has none of them; make it after the model is complete and on its device"
                )
        return chosen


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of all groups of an optimiser."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def read_setting(optimizer: Optimizer, key: str) -> float:
    """Return a setting of an optimiser's first parameter group; `NULL` if it is not a number."""
    value = optimizer.param_groups[0].get(key)
    return float(value) if isinstance(value, int | float | Tensor) else NULL


def read_configuration(
    network: nn.Module, optimizers: Sequence[Optimizer], every: int | str
) -> dict[str, Any]:
    """Read the settings of a training, keyed like the configuration of a gradlab run.

    Args:
        network: The watched network.
        optimizers: Its optimisers; only the settings of the first are read.
        every: The recording schedule, as in `gradlab.watch`.

    Returns:
        The known settings.
    """
    out: dict[str, Any] = {"model": type(network).__name__, "record.every": every}
    first = next(network.parameters(), None)
    if first is not None:
        out["train.dtype"] = str(first.dtype).removeprefix("torch.")
    if optimizers:
        out["optim"] = type(optimizers[0]).__name__.lower()
        numbers = {f"optim.{key}": read_setting(optimizers[0], key) for key in ("lr", "eps")}
        out |= {key: value for key, value in numbers.items() if not math.isnan(value)}
    return out


def skips_update(optimizer: Optimizer) -> bool:
    """Return whether a `GradScaler` makes a fused optimiser skip its update."""
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and float(found_inf) > 0


def _unwrap(wrapped: Any) -> Optimizer:
    """Return the optimiser inside a wrapper or a scheduler, from the attribute `optimizer`."""
    optimizer = wrapped
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise WatchError(f"expected a torch.optim.Optimizer, given {type(wrapped).__name__}")
    return optimizer
