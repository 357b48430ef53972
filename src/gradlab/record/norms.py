"""Euclidean norms that are right over the whole range of a dtype.

`torch.linalg.vector_norm` squares in the tensor's own dtype: float32 entries of 1e-25 have norm 0
there, and entries of 1e25 infinity.
"""

import torch
from torch import Tensor

Dims = int | tuple[int, ...]

SAFE = (1e-12, 1e15)
"""Norms of which no square that matters leaves the range of float32."""

ROW = 256
"""Entries that are summed in float32: what that loses is in the eighth digit."""


def norm_of_rows(x: Tensor) -> Tensor:
    """Return the norm of each row of [M, P], as `matrix_norm` does."""
    whole = x.shape[1] - x.shape[1] % ROW
    parts = [matrix_norm(x[:, :whole].unflatten(-1, (-1, ROW))), norm(x[:, whole:], -1)]
    return norm(torch.stack(parts), 0)


def rows_finite(x: Tensor) -> Tensor:
    """Return whether all entries of each row of [M, P] are finite, [M]."""
    if x.dtype == torch.float64:
        return x.isfinite().all(-1)
    return norm_of_rows(x).isfinite()  # the same in fewer passes: the norm cannot overflow


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

    There each row is summed in float32, eight times as fast as in float64, and the rows in float64;
    what is so small or so large that a square would be lost is left to `norm`.
    """
    if x.dtype == torch.float32 and x.device.type == "cpu" and x.numel():
        rows = torch.linalg.vector_norm(x, dim=-1)
        quick = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
        if ((quick > SAFE[0]) & (quick < SAFE[1])).all():
            return quick
    return norm(x, (-2, -1), origin)
