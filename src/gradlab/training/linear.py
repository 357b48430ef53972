"""The linear maps of a stack: the same product, written so that vmap and autograd copy nothing.

vmap takes `F.linear` apart into a multiplication of the bias by one, two sums, and a product with
W^T, whose gradient comes out as [M, I, O] and is then copied into the layout of W. As
(W x^T + b)^T, forward and backward are batched products of tensors as they lie: dLoss/dW comes out
as [M, O, I], and signals stay [M, U, B] in memory, seen as [M, B, U].
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class LinearAsLaid(TorchFunctionMode):
    """While it is open, `F.linear` of a matrix is computed by `linear`, whoever calls it."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or what stands for it."""
        if func is F.linear and len(args) > 1 and args[0].ndim == args[1].ndim == 2:
            return linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def linear(x_BI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return x W^T + b, [B, O]."""
    z_OB = torch.mm(weight_OI, x_BI.mT)
    return (z_OB if bias_O is None else z_OB.add_(bias_O[:, None])).mT
