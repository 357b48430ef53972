"""Norms, means and deviations of single tensors of any shape, in few passes over memory."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.recording.columns import ratio
from gradlab.recording.norms import CANCELLED, matrix_norm, mean_exact, norm, std_exact, widen
from gradlab.recording.rows import NULL

ROW = 256  # entries that are summed in float32
FEW = 4096  # entries that one call in float64 measures sooner than rows


def size_of(x: Tensor) -> Tensor:
    """Return the norm over all entries, float64."""
    flat = real(x.detach()).reshape(-1)
    whole = flat.numel() - flat.numel() % ROW if flat.numel() > FEW else 0
    size = norm(flat[whole:], 0)
    if whole:
        size = torch.hypot(matrix_norm(flat[:whole].view(1, -1, ROW))[0], size)
    return size


def real(x: Tensor) -> Tensor:
    """Return a complex tensor as one of real and imaginary parts, another one as it is."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def mean_of(x: Tensor) -> Tensor:
    """Return the mean of all entries, float64; finite if every entry is."""
    flat = x.detach().reshape(-1)
    whole = flat.numel() - flat.numel() % ROW
    if x.dtype == torch.float32 and whole:
        rows = flat[:whole].view(-1, ROW).sum(-1).double().sum()
        mean = (rows + flat[whole:].double().sum()) / flat.numel()
        if mean.device.type == "cpu" and bool(mean.isfinite()):
            return mean
    return mean_exact(flat, 0)


def mean_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and population standard deviation of all entries, float64.

    Both are finite if every entry is.
    """
    mean, root = mean_of(x), math.sqrt(x.numel())

    def exact() -> Tensor:
        wide = widen(x.detach())
        return size_of(wide - mean.to(wide.dtype))

    std = without(size_of(x), mean.abs() * root, exact) / root
    if std.device.type == "cpu" and bool(std.isfinite()):
        return mean, std
    return mean, torch.where(std.isfinite(), std, std_exact(x.detach().reshape(1, 1, -1))[0])


def unit_spread(grad: Tensor, size: Tensor) -> Tensor:
    """Return ‖G − its mean over units‖ / ‖G‖ of a gradient [unit, ...]; null for one unit, 0/0."""
    if grad.ndim < 2 or len(grad) < 2:
        return torch.full_like(size, NULL)
    grad = real(grad)
    wide = widen(grad)
    mean = wide.mean(0)
    alike = size_of(mean) * math.sqrt(len(grad))

    def exact() -> Tensor:
        finite = torch.where(mean.isfinite(), mean, mean_exact(wide, 0).to(mean.dtype))
        return size_of(wide - finite)

    return ratio(without(size, alike, exact), size)


def without(whole: Tensor, part: Tensor, exact: Callable[[], Tensor]) -> Tensor:
    """Return sqrt(whole² − part²); by `exact` where it is a small difference of large numbers.

    Off the CPU always so: to look at the number there would be to wait for it.
    """
    left = 1 - (part / whole).square()
    if left.device.type == "cpu" and bool(left > CANCELLED):
        return whole * left.sqrt()
    return exact()
