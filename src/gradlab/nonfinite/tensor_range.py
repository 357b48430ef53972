"""The range of a tensor's entries, with the number of entries that are inf or NaN."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorRange:
    """The range of a tensor.

    Attributes:
        dtype: Its dtype, such as "float32".
        shape: Its shape.
        low: The smallest finite entry; NaN if there is none.
        high: The largest finite entry; NaN if there is none.
        nans: Number of entries that are NaN.
        infs: Number of entries that are +inf.
        negative_infs: Number of entries that are -inf.
    """

    dtype: str
    shape: tuple[int, ...]
    low: float = math.nan
    high: float = math.nan
    nans: int = 0
    infs: int = 0
    negative_infs: int = 0

    @property
    def is_finite(self) -> bool:
        """Whether every entry is finite."""
        return not (self.nans or self.infs or self.negative_infs)

    @property
    def is_mask(self) -> bool:
        """Whether -inf is the only value that is not finite, as in the mask of an attention."""
        return bool(self.negative_infs) and not (self.nans or self.infs)

    def __str__(self) -> str:
        """Return dtype, shape and range: `float16 [64, 10], -3.2 to 7e+04, 3 inf`."""
        counts = ((self.nans, "NaN"), (self.infs, "inf"), (self.negative_infs, "-inf"))
        parts = [f"{self.dtype} {list(self.shape)}"]
        if not math.isnan(self.low):
            parts.append(f"{self.low:.4g} to {self.high:.4g}")
        return ", ".join(parts + [f"{count} {name}" for count, name in counts if count])


def all_finite(x: Tensor) -> bool:
    """Return whether every entry of a tensor is finite; waits for the device."""
    if not (x.is_floating_point() or x.is_complex()) or not x.numel():
        return True
    return bool(torch.isfinite(x.values() if x.is_sparse_csr else x).all())


def range_of_tensor(x: Tensor) -> TensorRange:
    """Return the range of a tensor's entries.

    Args:
        x: A dense tensor of any dtype; for complex entries, the range of real and imaginary parts.
    """
    dtype, shape = str(x.dtype).removeprefix("torch."), tuple(x.shape)
    if not x.numel() or x.dtype == torch.bool:
        return TensorRange(dtype, shape)
    x = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    low, high = (float(each) for each in x.aminmax())
    if math.isfinite(low) and math.isfinite(high):
        return TensorRange(dtype, shape, low, high)
    finite = x[x.isfinite()]
    low, high = (float(e) for e in finite.aminmax()) if finite.numel() else (math.nan, math.nan)
    counts = [int(each.sum()) for each in (x.isnan(), x.isposinf(), x.isneginf())]
    return TensorRange(dtype, shape, low, high, *counts)


def first_nonfinite_index(x: Tensor) -> tuple[int, ...] | None:
    """Return the index of the first entry that is not finite; None if every entry is finite.

    Example:
        >>> first_nonfinite_index(torch.tensor([[1.0, 2.0], [torch.inf, 0.0]]))
        (1, 0)
    """
    bad = ~torch.isfinite(x)
    if not bad.any():
        return None
    flat = int(bad.reshape(-1).int().argmax())
    index: list[int] = []
    for size in reversed(x.shape):
        flat, position = divmod(flat, size)
        index.append(position)
    return tuple(reversed(index))
