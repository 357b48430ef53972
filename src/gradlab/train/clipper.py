"""Clipping for a stack whose members may be clipped each in its own way."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.record.norms import norm_of_rows
from gradlab.settings import Component
from gradlab.train.stack import Stack


class Clipper:
    """Applies each member's clipping to its own row of the gradient."""

    def __init__(self, clips: Sequence[Component]) -> None:
        kinds = [clip for i, clip in enumerate(clips) if clip not in clips[:i]]
        groups = [(kind, [i for i, c in enumerate(clips) if c == kind]) for kind in kinds]
        self.groups = [(kind, rows(members)) for kind, members in groups if kind.name != "none"]
        self.acts = bool(self.groups)

    def clip(self, stack: Stack, grad: Tensor) -> Tensor:
        """Return the gradient [M, P] after clipping; the one given is left as it is."""
        if not self.acts:
            return grad
        out = grad.clone()
        for kind, members in self.groups:
            grads, params = stack.views(grad[members]), stack.views(stack.theta[members])
            clipped = kind.call(grads, params)
            out[members] = torch.cat([g.flatten(1) for g in clipped.values()], dim=1)
        return out

    def factor(self, grad_norm: Tensor, clipped: Tensor) -> Tensor:
        """Return the norm after clipping over that before, [M]; 1 = not clipped."""
        out = torch.ones_like(grad_norm)
        for _, members in self.groups:
            before, after = grad_norm[members], norm_of_rows(clipped[members])
            out[members] = torch.where(before > 0, after / before, 1.0)
        return out


def rows(members: list[int]) -> slice | list[int]:
    """Return members as a slice if they follow each other: then their rows need not be copied."""
    first, last = members[0], members[-1] + 1
    return slice(first, last) if last - first == len(members) else members
