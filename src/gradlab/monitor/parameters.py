"""What a step does to parameters: pure numbers of a gradient, and of a weight before and after."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gradlab.monitor.tensor_norms import real, size_of, unit_spread


class Reading(NamedTuple):
    """Of one gradient: its norm, entries that are 0, entries that are not finite, unit spread.

    The last three are None of parameters that are no weights. The spread is told by whether the
    units are the second dimension: a weight that an embedding and a head share is both.
    """

    norm: Tensor
    zeros: Tensor | None = None
    nonfinite: Tensor | None = None
    spread: Mapping[bool, Tensor] | None = None


def of_bias(grad: Tensor) -> Reading:
    """Return the norm alone."""
    return Reading(size_of(grad))


def of_weight(grad: Tensor, units_second: Collection[bool]) -> Reading:
    """Return all that is told of a weight's gradient."""
    grad = grad.detach()
    size = size_of(grad)
    none = torch.zeros_like(size)
    finite = grad.device.type == "cpu" and bool(size.isfinite())  # elsewhere to ask is to wait
    nonfinite = none if finite else (~grad.isfinite()).sum().double()
    zeros = (grad.numel() - torch.count_nonzero(grad)).double()
    spread = {second: _spread(grad, size, second) for second in units_second}
    return Reading(size, zeros, nonfinite, spread)


def moved(before: Tensor, after: Tensor) -> Tensor:
    """Return the norm of what an update added; `before` is used up.

    Float32 has the difference of near numbers exactly.
    """
    exact = after.dtype in (torch.float32, torch.complex64)
    added = before.sub_(after) if exact else real(before).double() - real(after).double()
    return size_of(added)


def _spread(grad: Tensor, size: Tensor, units_second: bool) -> Tensor:
    """Return how far the units' gradients are from their mean, as a share of all."""
    return unit_spread(grad.transpose(0, 1) if units_second and grad.ndim > 1 else grad, size)
