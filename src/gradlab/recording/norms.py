"""Norms, means and standard deviations, correct over the whole range of a dtype.

`torch.linalg.vector_norm` squares in the dtype of the tensor: float32 entries of 1e-25 have norm 0
there, and entries of 1e25 infinity. `torch.mean` overflows where the sum of finite entries does.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Dims = int | tuple[int, ...]

SAFE = (1e-12, 1e15)
"""Norms of which no square that matters leaves the range of float32."""

ROW = 4096
"""Entries that are summed in float32: what that loses is in the seventh digit."""

CANCELLED = 0.1
"""A difference of squares below this part of them has lost digits, and is computed another way."""


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
    scale = _largest(x, dim)
    scaled = torch.linalg.vector_norm(x / scale, dim=dim, keepdim=True) * scale
    return scaled.squeeze(dim)


def _largest(x: Tensor, dim: Dims) -> Tensor:
    """Return the largest |x| over `dim`, which is kept; 1 where it is 0 or not finite."""
    largest = x.abs().amax(dim, keepdim=True)
    return torch.where((largest == 0) | ~largest.isfinite(), 1.0, largest)


def matrix_norm(x: Tensor, origin: torch.dtype | None = None) -> Tensor:
    """Return the norm over the last two dimensions, as `norm` does, of float32 in six digits.

    There up to `ROW` entries are summed in float32, five times as fast as in float64, and these
    sums in float64; what is so small or so large that a square would be lost is left to `norm`.
    """
    return settled(quick_norm(x, origin), [x])


def quick_norm(x: Tensor, origin: torch.dtype | None = None) -> Tensor:
    """Return the `matrix_norm`: of float32, in float32, and wrong where a square was lost."""
    if x.dtype != torch.float32 or x.is_cuda or not x.numel():
        return norm(x, (-2, -1), origin)
    sizes = torch.linalg.vector_norm(_rows(x), dim=-1)
    return sizes.squeeze(-1) if sizes.shape[-1] == 1 else torch.linalg.vector_norm(sizes, dim=-1)


def settled(quick: Tensor, parts: Iterable[Tensor]) -> Tensor:
    """Return the `matrix_norm` of some tensors [S, M, a, b], from the `quick_norm` of all."""
    if quick.dtype == torch.float64:
        return quick
    return repaired(quick.double(), _lost(quick), parts, lambda x: norm(x, (-2, -1)))


def repaired(
    found: Tensor, wrong: Tensor, parts: Iterable[Tensor], exact: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return what was found of some tensors [S, M, ...], by `exact` where it is wrong."""
    if wrong.any():
        begin = 0
        for x in parts:
            at = slice(begin, begin + len(x))
            if wrong[at].any():
                found[at][wrong[at]] = exact(x[wrong[at]])
            begin += len(x)
    return found


def _lost(quick: Tensor) -> Tensor:
    """Return where a square may have left the range of float32."""
    return ~((quick > SAFE[0]) & (quick < SAFE[1]))


def total(x: Tensor) -> Tensor:
    """Return the sum over the last two dimensions: of rows in x's dtype, of these in float64."""
    return _rows(x).sum(-1).sum(-1, dtype=torch.float64)


def _rows(x: Tensor) -> Tensor:
    """Return the entries of the last two dimensions in as few rows as may be, as they are laid."""
    if x.stride(-1) != 1:
        x = x.mT
    return x.flatten(-2).unsqueeze(-2) if x.shape[-2] * x.shape[-1] <= ROW else x


def mean(x: Tensor) -> Tensor:
    """Return the mean over the last two dimensions, float64; finite if every entry is."""
    quick = total(wide(x)) / (x.shape[-1] * x.shape[-2])
    return repaired(quick, ~quick.isfinite(), [x], lambda part: mean_exact(part, (-2, -1)))


def mean_exact(x: Tensor, dim: Dims) -> Tensor:
    """Return the mean over `dim`, summed in float64; finite if every entry is."""
    plain = x.mean(dim, dtype=torch.float64)
    if x.dtype != torch.float64:  # a sum of smaller dtypes does not leave the range of float64
        return plain
    scale = _largest(x, dim)
    scaled = (x / scale).mean(dim, keepdim=True) * scale
    return torch.where(plain.isfinite(), plain, scaled.squeeze(dim))


def std_exact(x: Tensor) -> Tensor:
    """Return the population standard deviation over the last two dimensions, float64.

    It is finite if every entry is.
    """
    root, y = math.sqrt(x.shape[-1] * x.shape[-2]), x.double()
    plain = matrix_norm(y - mean(y)[..., None, None], x.dtype) / root
    if x.dtype != torch.float64:
        return plain
    scale = _largest(y, (-2, -1))
    unit = y / scale
    scaled = matrix_norm(unit - mean(unit)[..., None, None]) / root
    return torch.where(plain.isfinite(), plain, scaled.clamp(max=1.0) * scale[..., 0, 0])


def wide(x: Tensor) -> Tensor:
    """Return x in the dtype for calculations: float32 as it is, smaller dtypes in float64."""
    return x if x.dtype == torch.float32 else x.double()


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
    return torch.hypot(quick_norm(x_MN[:, :whole].unflatten(-1, (-1, ROW))).double(), rest)
