"""Clipping for a stack whose members may be clipped each in its own way."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.record.norms import norm
from gradlab.settings import Component
from gradlab.train.stack import Stack


class Clipper:
    """Applies each member's clipping to its own row of the gradient."""

    def __init__(self, clips: Sequence[Component]) -> None:
        kinds = [clip for i, clip in enumerate(clips) if clip not in clips[:i]]
        self.groups = [(kind, [i for i, c in enumerate(clips) if c == kind]) for kind in kinds]
        self.acts = any(kind.name != "none" for kind in kinds)

    def clip(self, stack: Stack, grad: Tensor) -> Tensor:
        """Return the gradient [M, P] after clipping; the one given is left as it is."""
        if not self.acts:
            return grad
        out = grad.clone()
        for kind, members in self.groups:
            if kind.name != "none":
                grads, params = stack.views(grad[members]), stack.views(stack.theta[members])
                clipped = kind.call(grads, params)
                out[members] = torch.cat([g.flatten(1) for g in clipped.values()], dim=1)
        return out

    def factor(self, grad_norm: Tensor, clipped: Tensor) -> Tensor:
        """Return the norm after clipping over that before, [M]; 1 = not clipped."""
        if not self.acts:
            return torch.ones_like(grad_norm)
        return torch.where(grad_norm > 0, norm(clipped, -1) / grad_norm, 1.0)
