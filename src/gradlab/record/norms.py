"""Euclidean norms that are right over the whole range of a dtype.

`torch.linalg.vector_norm` squares in the tensor's own dtype: float32 entries of 1e-25 have norm 0
there, and entries of 1e25 infinity.
"""

import sys

import torch
from torch import Tensor

Dims = int | tuple[int, ...]


BLOCK = 2**17
"""Entries that are converted to float64 at a time: 1 MB, which a processor's cache holds."""


def at_once(entries: int, device: torch.device) -> int:
    """Return how many rows of so many entries are measured at a time: on a GPU all, as it likes."""
    return sys.maxsize if device.type == "cuda" else max(1, BLOCK // entries)


def norm_of_rows(x: Tensor) -> Tensor:
    """Return the norm of each row of [M, P], as `norm` does, a few rows at a time."""
    return torch.cat([norm(part, -1) for part in x.split(at_once(x.shape[1], x.device))])


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
