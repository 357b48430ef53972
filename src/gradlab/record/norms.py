"""Euclidean norms that are right over the whole range of a dtype.

`torch.linalg.vector_norm` squares in the tensor's own dtype: float32 entries of 1e-25 have norm 0
there, and entries of 1e25 infinity.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Dims = int | tuple[int, ...]

SAFE = (1e-12, 1e15)
"""Norms of which no square that matters leaves the range of float32."""

ROW = 4096
"""Entries that are summed in float32: what that loses is in the seventh digit."""


def norm(x: Tensor, dim: Dims, origin: torch.dtype | None = None) -> Tensor:
    """Return the Euclidean norm over `dim`, in float64, subnormal entries included.

    Up to float32, squares cannot leave the range of float64. In float64 the entries are first
    divided by the largest of them; `origin` says that float64 entries came from a smaller dtype,
    and need not be. Infinite entries give inf, NaN gives NaN, no entries give 0.
    """
    if (origin or x.dtype) != torch.float64:
        return torch.linalg.vector_norm(x, dim=dim, dtype=torch.float64)
    if not x.numel():
        return torch.linalg.vector_norm(x, dim=dim)
    largest = x.abs().amax(dim, keepdim=True)
    scale = torch.where((largest == 0) | largest.isinf(), 1.0, largest)
    scaled = torch.linalg.vector_norm(x / scale, dim=dim, keepdim=True) * scale
    dims = (dim,) if isinstance(dim, int) else dim
    return scaled.squeeze(dims)


def matrix_norm(x: Tensor, origin: torch.dtype | None = None) -> Tensor:
    """Return the norm over the last two dimensions, as `norm` does, of float32 in six digits.

    There up to `ROW` entries are summed in float32, eight times as fast as in float64, and these
    sums in float64; what is so small or so large that a square would be lost is left to `norm`.
    """
    if x.dtype != torch.float32 or x.is_cuda or not x.numel():
        return norm(x, (-2, -1), origin)
    quick = _quick(x)
    lost = _lost(quick)
    if lost.any():
        quick[lost] = norm(x[lost], (-2, -1))
    return quick


def joint_norm(parts: Sequence[Tensor]) -> Tensor:
    """Return the norm, [M], of all that each member has in tensors [M, ...], as `matrix_norm` does.

    Of float32, what is too small to be squared is left out where it is not all that there is.
    """
    if parts[0].dtype == torch.float32 and not parts[0].is_cuda:
        quick = norm(torch.stack([_quick_row(x.flatten(1)) for x in parts]), 0, torch.float32)
        if not _lost(quick).any():
            return quick
    return norm(torch.stack([norm(x.flatten(1), -1) for x in parts]), 0)


def _quick_row(x_MN: Tensor) -> Tensor:
    """Return the norm of each row, wrong where a square is lost."""
    if x_MN.shape[1] <= ROW:
        return torch.linalg.vector_norm(x_MN, dim=-1).double()
    whole = x_MN.shape[1] - x_MN.shape[1] % ROW
    rest = torch.linalg.vector_norm(x_MN[:, whole:], dim=-1).double()
    return torch.hypot(_quick(x_MN[:, :whole].unflatten(-1, (-1, ROW))), rest)


def _quick(x: Tensor) -> Tensor:
    """Return the norm over the last two dimensions, wrong where a square is lost."""
    if x.shape[-1] * x.shape[-2] <= ROW:
        return torch.linalg.vector_norm(x.flatten(-2), dim=-1).double()
    rows = torch.linalg.vector_norm(x, dim=-1)
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)


def _lost(quick: Tensor) -> Tensor:
    return ~((quick > SAFE[0]) & (quick < SAFE[1]))
