"""Clipping for a stack whose members may be clipped each in its own way."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.config.choices import Component
from gradlab.recording.norms import joint_norm
from gradlab.training.stack import Stack


class Clipper:
    """Applies each member's clipping to its own row of every gradient."""

    def __init__(self, clips: Sequence[Component]) -> None:
        kinds = [clip for i, clip in enumerate(clips) if clip not in clips[:i]]
        groups = [(kind, [i for i, c in enumerate(clips) if c == kind]) for kind in kinds]
        self.groups = [(kind, rows(members)) for kind, members in groups if kind.name != "none"]
        self.all = len(groups) == 1

    def clip(self, stack: Stack, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the gradients after clipping; those given are left as they are."""
        if not self.groups:
            return grads
        named = stack.named(grads)
        if self.all:
            return stack.blocked(self.groups[0][0].call(named, stack.params))
        out = {name: grad.clone() for name, grad in named.items()}
        for kind, members in self.groups:
            some = ({n: t[members] for n, t in each.items()} for each in (named, stack.params))
            for name, clipped in kind.call(*some).items():
                out[name][members] = clipped
        return stack.blocked(out)

    def factor(self, grad_norm: Tensor, clipped: Sequence[Tensor]) -> Tensor:
        """Return the norm after clipping over that before, [M]; 1 = not clipped."""
        out = torch.ones_like(grad_norm)
        for _, members in self.groups:
            before, after = grad_norm[members], joint_norm([grad[members] for grad in clipped])
            out[members] = torch.where(before > 0, after / before, 1.0)
        return out


def rows(members: list[int]) -> slice | list[int]:
    """Return members as a slice if they follow each other: then their rows need not be copied."""
    first, last = members[0], members[-1] + 1
    return slice(first, last) if last - first == len(members) else members
