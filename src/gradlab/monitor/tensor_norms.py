"""Norms, means and deviations of single tensors of any shape, in few passes over memory."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.recording.norms import matrix_norm, norm

ROW = 256  # entries that are summed in float32
FEW = 4096  # entries that one call in float64 measures sooner than rows
CANCELLED = 0.1  # a difference of squares that is less than this part of them is taken otherwise


def size_of(x: Tensor) -> Tensor:
    """Return the norm over all entries, float64; inf if it is not a number."""
    flat = real(x.detach()).reshape(-1)
    whole = flat.numel() - flat.numel() % ROW if flat.numel() > FEW else 0
    size = norm(flat[whole:], 0)
    if whole:
        size = torch.hypot(matrix_norm(flat[:whole].view(1, -1, ROW))[0], size)
    return size.nan_to_num(math.inf, math.inf)


def real(x: Tensor) -> Tensor:
    """Return a complex tensor as one of real and imaginary parts, another one as it is."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def mean_of(x: Tensor) -> Tensor:
    """Return the mean of all entries, float64."""
    flat = x.detach().reshape(-1)
    whole = flat.numel() - flat.numel() % ROW
    if x.dtype != torch.float32 or not whole:
        return flat.double().mean()
    rows = flat[:whole].view(-1, ROW).sum(-1).double().sum()
    return (rows + flat[whole:].double().sum()) / flat.numel()


def mean_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and population standard deviation of all entries, float64."""
    mean, root = mean_of(x), math.sqrt(x.numel())

    def exact() -> Tensor:
        wide = x.detach() if x.dtype == torch.float32 else x.detach().double()
        return size_of(wide - mean.to(wide.dtype))

    return mean, without(size_of(x), mean.abs() * root, exact) / root


def unit_spread(grad: Tensor, size: Tensor) -> Tensor:
    """Return ‖G − its mean over units‖ / ‖G‖ of a gradient [unit, ...]; NaN for one unit, 0/0."""
    if grad.ndim < 2 or len(grad) < 2:
        return torch.full_like(size, math.nan)
    grad = real(grad)
    wide = grad if grad.dtype == torch.float32 else grad.double()
    mean = wide.mean(0)
    alike = size_of(mean) * math.sqrt(len(grad))
    return without(size, alike, lambda: size_of(wide - mean)) / size


def without(whole: Tensor, part: Tensor, exact: Callable[[], Tensor]) -> Tensor:
    """Return sqrt(whole² − part²); by `exact` where it is a small difference of large numbers.

    Off the CPU always so: to look at the number there would be to wait for it.
    """
    left = 1 - (part / whole).square()
    if left.device.type == "cpu" and bool(left > CANCELLED):
        return whole * left.sqrt()
    return exact()
