"""The numbers of one step: norms of gradients, and of weights before and after the update."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from gradlab.monitor.calls import Call
from gradlab.monitor.combine import whole_tensor
from gradlab.monitor.tensor_norms import norm_of, real, unit_spread
from gradlab.monitor.watched_modules import WatchedModule
from gradlab.recording.rows import NULL


class Reading(NamedTuple):
    """The numbers of one gradient, float64 scalars.

    Attributes:
        norm: The norm of the gradient.
        zeros: Number of entries that are 0. This and the next two are None for a bias.
        nonfinite: Number of entries that are not finite.
        spread: The unit spread, keyed by whether the units are the second dimension. A weight that
            an embedding and a head share has both values.
    """

    norm: Tensor
    zeros: Tensor | None = None
    nonfinite: Tensor | None = None
    spread: Mapping[bool, Tensor] | None = None


def read_gradient(grad: Tensor, layouts: Collection[bool]) -> Reading:
    """Return the numbers of a gradient.

    Args:
        grad: The gradient of a parameter: the sum or mean over samples that training uses.
        layouts: For a weight, whether its units are the second dimension. For other parameters it
            is empty, and only the norm is computed.
    """
    grad = grad.detach()
    grad_norm = norm_of(grad)
    if not layouts:
        return Reading(grad_norm)
    # On a GPU, reading the norm would wait for the device.
    finite = grad.device.type == "cpu" and bool(grad_norm.isfinite())
    nonfinite = torch.zeros_like(grad_norm) if finite else (~grad.isfinite()).sum().double()
    zeros = (grad.numel() - torch.count_nonzero(grad)).double()
    spread = {
        second: unit_spread(grad.transpose(0, 1) if second and grad.ndim > 1 else grad, grad_norm)
        for second in layouts
    }
    return Reading(grad_norm, zeros, nonfinite, spread)


def norm_of_change(before: Tensor, after: Tensor) -> Tensor:
    """Return ‖after − before‖; `before` is overwritten.

    The difference of two nearly equal float32 numbers is exact in float32.
    """
    exact = after.dtype in (torch.float32, torch.complex64)
    return norm_of(before.sub_(after) if exact else real(before).double() - real(after).double())


class WatchedWeights:
    """The weights of the watched modules in one step, keyed by the parameter's id.

    Args:
        modules: The watched modules.

    Attributes:
        norms: Norms before the update.
        moved: Norms of the change by the update.
    """

    def __init__(self, modules: Sequence[WatchedModule]) -> None:
        self.modules = modules
        self.norms: dict[int, Tensor] = {}
        self.moved: dict[int, Tensor] = {}
        self._before: dict[int, Tensor] = {}

    def copy(self) -> None:
        """Copy the weights before the first update of the step."""
        for p in self._parameters():
            if id(p) not in self.norms:
                full = whole_tensor(p.detach())
                self.norms[id(p)] = norm_of(full)
                if p.requires_grad:
                    self._before[id(p)] = full.clone()

    def compare(self) -> None:
        """Measure the change since `copy`, and free the copies."""
        for p in self._parameters():
            if id(p) in self._before:
                self.moved[id(p)] = norm_of_change(
                    self._before.pop(id(p)), whole_tensor(p.detach())
                )
        self._before.clear()

    @cached_property
    def layouts(self) -> dict[int, set[bool]]:
        """Whether the units of each weight are its second dimension; tied weights may have both."""
        layouts: dict[int, set[bool]] = defaultdict(set)
        for watched in self.modules:
            for p in watched.all_weights():
                layouts[id(p)].add(watched.has_units_second)
        return layouts

    def _parameters(self) -> Iterator[Tensor]:
        for watched in self.modules:
            yield from watched.all_weights()


@dataclass
class WatchedStep:
    """The numbers of one step; parameters are keyed by their id.

    Attributes:
        index: The number of the step, from 0.
        weights: The weights of the watched modules.
        recorded: Whether the step is recorded.
        calls: Calls of the modules, up to the last optimiser's update.
        losses: Losses of the backward passes.
        lr: Learning rate of the first optimiser's first group; `NULL` without a learning rate.
        readings: Numbers of the gradients before clipping.
        clipped: Norms of the gradients after clipping.
        stepped: Optimisers that have made their update.
    """

    index: int
    weights: WatchedWeights
    recorded: bool
    calls: list[Call] = field(default_factory=list[Call])
    losses: list[Tensor] = field(default_factory=list[Tensor])
    lr: float = NULL
    readings: dict[int, Reading] = field(default_factory=dict[int, Reading])
    clipped: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    stepped: list[Optimizer] = field(default_factory=list[Optimizer])

    def read(self, p: Tensor, scale: Tensor | None) -> None:
        """Read the gradient of a parameter.

        Args:
            p: The parameter.
            scale: The loss scale that its gradient contains; None stands for 1.
        """
        if p.grad is None:
            return
        grad = whole_tensor(p.grad)
        grad = grad.to_dense() if grad.is_sparse else grad
        reading = read_gradient(grad, self.weights.layouts.get(id(p), ()))
        if scale is not None:
            reading = reading._replace(norm=reading.norm / scale.to(reading.norm.device))
        self.readings[id(p)] = reading

    def read_clipped(self, parameters: Iterable[Tensor]) -> None:
        """Read the norms of gradients after clipping."""
        for p in parameters:
            if p.grad is not None:
                self.clipped[id(p)] = norm_of(whole_tensor(p.grad))
