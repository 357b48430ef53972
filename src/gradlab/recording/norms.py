"""Norms, means and standard deviations, correct over the whole range of a dtype.

torch alone is not. `torch.linalg.vector_norm` squares in the dtype of the tensor: the norm of
float32 entries of 1e-25 is 0, and of 1e25 infinity. `torch.mean` overflows if the sum does.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Dims = int | tuple[int, ...]

SAFE = (1e-12, 1e15)
"""Between these norms, float32 can represent every square that affects the result."""

ROW = 4096
"""Number of entries that are summed in float32; the rounding error is in the seventh digit."""

CANCELLED = 0.1
"""A difference of squares below this fraction of them has lost digits and is computed anew."""


def norm(x: Tensor, dim: Dims, origin: torch.dtype | None = None) -> Tensor:
    """Compute the Euclidean norm over some dimensions, including subnormal entries.

    Squares of float32 entries fit into float64. Entries that were float64 from the start are first
    divided by the largest of them.

    Args:
        x: Tensor of any shape.
        dim: Dimensions to reduce.
        origin: The dtype before `x` was converted to float64, if it was smaller.

    Returns:
        The norm, float64; inf for infinite entries, NaN for NaN, 0 without entries.
    """
    if (origin or x.dtype) != torch.float64:
        return torch.linalg.vector_norm(x, dim=dim, dtype=torch.float64)
    if not x.numel():
        return torch.linalg.vector_norm(x, dim=dim)
    scale = _largest(x, dim)
    scaled = torch.linalg.vector_norm(x / scale, dim=dim, keepdim=True) * scale
    return scaled.squeeze(dim)


def _largest(x: Tensor, dim: Dims) -> Tensor:
    """Return the largest |x| over `dim`, a dimension of size 1; 1 where it is 0 or not finite."""
    largest = x.abs().amax(dim, keepdim=True)
    return torch.where((largest == 0) | ~largest.isfinite(), 1.0, largest)


def matrix_norm(x: Tensor, origin: torch.dtype | None = None) -> Tensor:
    """Return the norm over the last two dimensions, float64; for float32 correct in six digits.

    For float32 it sums up to `ROW` entries in float32, five times as fast as in float64, and then
    these sums in float64. `norm` repeats the result where a square may be out of range.
    """
    return repair_norms(quick_norm(x, origin), [x])


def quick_norm(x: Tensor, origin: torch.dtype | None = None) -> Tensor:
    """Return the `matrix_norm`; for float32 in float32, wrong where a square is out of range."""
    if x.dtype != torch.float32 or x.is_cuda or not x.numel():
        return norm(x, (-2, -1), origin)
    sizes = torch.linalg.vector_norm(_rows(x), dim=-1)
    return sizes.squeeze(-1) if sizes.shape[-1] == 1 else torch.linalg.vector_norm(sizes, dim=-1)


def repair_norms(quick: Tensor, parts: Iterable[Tensor]) -> Tensor:
    """Return the `matrix_norm` of tensors [S, M, a, b], from the `quick_norm` of all of them."""
    if quick.dtype == torch.float64:
        return quick
    return repair(quick.double(), _is_unsafe(quick), parts, lambda x: norm(x, (-2, -1)))


def repair(
    values: Tensor, wrong: Tensor, parts: Iterable[Tensor], exact: Callable[[Tensor], Tensor]
) -> Tensor:
    """Replace wrong values by exact ones, in place.

    Args:
        values: A value for each tensor, [S, M].
        wrong: Mask of the values to replace, [S, M].
        parts: The tensors, [S, M, ...], divided along S.
        exact: Computes the values, [N], of tensors [N, ...].

    Returns:
        `values`.
    """
    if wrong.any():
        begin = 0
        for x in parts:
            rows = slice(begin, begin + len(x))
            if wrong[rows].any():
                values[rows][wrong[rows]] = exact(x[wrong[rows]])
            begin += len(x)
    return values


def _is_unsafe(quick: Tensor) -> Tensor:
    """Return True where a square may be out of the range of float32."""
    return ~((quick > SAFE[0]) & (quick < SAFE[1]))


def matrix_sum(x: Tensor) -> Tensor:
    """Return the sum over the last two dimensions: over rows in x's dtype, then in float64."""
    return _rows(x).sum(-1).sum(-1, dtype=torch.float64)


def _rows(x: Tensor) -> Tensor:
    """Return the entries of the last two dimensions as few rows, in the order in memory."""
    if x.stride(-1) != 1:
        x = x.mT
    return x.flatten(-2).unsqueeze(-2) if x.shape[-2] * x.shape[-1] <= ROW else x


def mean(x: Tensor) -> Tensor:
    """Return the mean over the last two dimensions, float64; finite if every entry is."""
    quick = matrix_sum(widen(x)) / (x.shape[-1] * x.shape[-2])
    return repair(quick, ~quick.isfinite(), [x], lambda part: mean_exact(part, (-2, -1)))


def mean_exact(x: Tensor, dim: Dims) -> Tensor:
    """Return the mean over `dim`, summed in float64; finite if every entry is."""
    plain = x.mean(dim, dtype=torch.float64)
    if x.dtype != torch.float64:  # a sum of smaller dtypes stays in the range of float64
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


def widen(x: Tensor) -> Tensor:
    """Return x in the dtype for calculations: float32 unchanged, smaller dtypes in float64."""
    return x if x.dtype == torch.float32 else x.double()


def joint_norm(parts: Sequence[Tensor]) -> Tensor:
    """Return each member's norm over all tensors, [M] float64, as exact as `matrix_norm`.

    In float32, entries too small to be squared count only if all entries are that small.

    Args:
        parts: Tensors [M, ...].
    """
    if parts[0].dtype == torch.float32 and not parts[0].is_cuda:
        quick = norm(torch.stack([_quick_row(x.flatten(1)) for x in parts]), 0, torch.float32)
        if not _is_unsafe(quick).any():
            return quick
    return norm(torch.stack([norm(x.flatten(1), -1) for x in parts]), 0)


def _quick_row(x_MN: Tensor) -> Tensor:
    """Return the norm of each row, wrong where a square is out of range."""
    if x_MN.shape[1] <= ROW:
        return torch.linalg.vector_norm(x_MN, dim=-1).double()
    whole = x_MN.shape[1] - x_MN.shape[1] % ROW
    rest = torch.linalg.vector_norm(x_MN[:, whole:], dim=-1).double()
    return torch.hypot(quick_norm(x_MN[:, :whole].unflatten(-1, (-1, ROW))).double(), rest)
