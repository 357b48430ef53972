"""Norms, means and standard deviations over all entries of a tensor of any shape.

float32 entries are summed in rows of 256 in float32, and the rows in float64. This is faster than
float64 throughout, and exact to six digits.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.recording.columns import ratio
from gradlab.recording.norms import CANCELLED, matrix_norm, mean_exact, norm, std_exact, widen
from gradlab.recording.rows import NULL

ROW = 256  # entries that are summed in float32
FEW = 4096  # up to this number of entries, one pass in float64 is faster than rows


def norm_of(x: Tensor) -> Tensor:
    """Return the Euclidean norm over all entries, a float64 scalar."""
    flat = real(x.detach()).reshape(-1)
    in_rows = flat.numel() - flat.numel() % ROW if flat.numel() > FEW else 0
    result = norm(flat[in_rows:], 0)
    if in_rows:
        result = torch.hypot(matrix_norm(flat[:in_rows].view(1, -1, ROW))[0], result)
    return result


def real(x: Tensor) -> Tensor:
    """Return a complex tensor as a real tensor with a last dimension of 2; others unchanged."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _mean(x: Tensor) -> Tensor:
    """Return the mean of all entries, float64; finite if every entry is."""
    flat = x.detach().reshape(-1)
    in_rows = flat.numel() - flat.numel() % ROW
    if x.dtype == torch.float32 and in_rows:
        rows = flat[:in_rows].view(-1, ROW).sum(-1).double().sum()
        mean = (rows + flat[in_rows:].double().sum()) / flat.numel()
        if mean.device.type == "cpu" and bool(mean.isfinite()):
            return mean
    return mean_exact(flat, 0)


def mean_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and population standard deviation of all entries, float64 scalars.

    Both are finite if every entry is.
    """
    mean, root = _mean(x), math.sqrt(x.numel())

    def exact() -> Tensor:
        entries = widen(x.detach())
        return norm_of(entries - mean.to(entries.dtype))

    std = _subtract_squares(norm_of(x), mean.abs() * root, exact) / root
    if std.device.type == "cpu" and bool(std.isfinite()):
        return mean, std
    return mean, torch.where(std.isfinite(), std, std_exact(x.detach().reshape(1, 1, -1))[0])


def unit_spread(grad: Tensor, grad_norm: Tensor) -> Tensor:
    """Return ‖G − mean of G over units‖ / ‖G‖ for a gradient G [unit, ...].

    It is 0 if all units have the same gradient; null for a single unit or a zero gradient.
    """
    if grad.ndim < 2 or len(grad) < 2:
        return torch.full_like(grad_norm, NULL)
    entries = widen(real(grad))
    mean = entries.mean(0)
    common_norm = norm_of(mean) * math.sqrt(len(grad))

    def exact() -> Tensor:
        finite = torch.where(mean.isfinite(), mean, mean_exact(entries, 0).to(mean.dtype))
        return norm_of(entries - finite)

    return ratio(_subtract_squares(grad_norm, common_norm, exact), grad_norm)


def _subtract_squares(total: Tensor, part: Tensor, exact: Callable[[], Tensor]) -> Tensor:
    """Return sqrt(total² − part²).

    Args:
        total: A norm.
        part: The norm of an orthogonal part of it.
        exact: Computes the result in a slower way. It is called where the difference would lose
            digits, and always on a GPU, where reading the numbers would wait for the device.

    Returns:
        The norm of the rest.
    """
    left = 1 - (part / total).square()
    if left.device.type == "cpu" and bool(left > CANCELLED):
        return total * left.sqrt()
    return exact()
