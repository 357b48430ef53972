"""The parameters of a stack: a tensor [M, ...] for each name, all in one block of memory."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Named = Mapping[str, Tensor]
"""Tensors [M, ...], keyed by dotted name."""


class Parameters:
    """A copy of the parameters of M networks with equal shapes.

    Norm, clipping and update use `blocks`, the fastest layout. In a stack of several networks, each
    parameter is a block, because it is large. A single network has one block with all its small
    parameters.

    Args:
        members: The networks.
        device: Device of the copy.

    Attributes:
        size: Number of networks, M.
        shapes: Shapes [M, ...], keyed by dotted name.
        memory: All parameters of all members in one dimension.
        named: Views of `memory`, keyed by dotted name, without gradient.
        blocks: Views of `memory` as a list of blocks, [M, ...].
        saved: The parameters at the last call of `save`, like `named`.
    """

    def __init__(self, members: Sequence[nn.Module], device: torch.device) -> None:
        params = [dict(member.named_parameters()) for member in members]
        stacked = [torch.stack([each[name].detach() for each in params]) for name in params[0]]
        self.size = len(members)
        self.shapes = {name: p.shape for name, p in zip(params[0], stacked, strict=True)}
        self.memory = torch.cat([p.flatten() for p in stacked]).to(device)
        self._saved_memory = torch.empty_like(self.memory)
        self._gathered = torch.empty_like(self.memory[: None if self.size == 1 else 0])
        self.named, self.saved = self._views(self.memory), self._views(self._saved_memory)
        self.blocks = [self.memory[None]] if self.size == 1 else list(self.named.values())

    @property
    def theta(self) -> Tensor:
        """A copy of all P parameters, [M, P]."""
        return torch.cat([p.flatten(1) for p in self.named.values()], dim=1)

    def name_blocks(self, blocks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Convert blocks to views [M, ...], keyed by dotted name."""
        if self.size == 1:
            return self._views(blocks[0][0])
        return dict(zip(self.shapes, blocks, strict=True))

    def block_named(self, named: Named) -> list[Tensor]:
        """Convert tensors [M, ...], keyed by dotted name, to blocks."""
        if self.size > 1:
            return list(named.values())
        return [torch.cat([t.flatten() for t in named.values()])[None]]

    def block_grads(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Convert the gradients of the leaves to blocks, which are valid until the next call."""
        if self.size == 1:
            # Reuse the memory, because the system zeroes new memory page by page.
            return [torch.cat([grad.flatten() for grad in grads], out=self._gathered)[None]]
        return [grad.contiguous() for grad in grads]

    def save(self) -> None:
        """Copy all parameters to `saved`."""
        self._saved_memory.copy_(self.memory)

    def restore(self, which_M: Tensor) -> None:
        """Set the parameters of the members in the mask `which_M` to the saved ones."""
        for current, saved in zip(self.named.values(), self.saved.values(), strict=True):
            which = which_M.view(-1, *[1] * (current.ndim - 1))
            current.copy_(torch.where(which, saved, current))

    def finite(self) -> Tensor:
        """Return whether all parameters of each member are finite, [M]."""
        if not self.memory.is_cuda and self.memory.sum().isfinite():
            return torch.ones(self.size, dtype=torch.bool)
        finite = [p.flatten(1).isfinite().all(1) for p in self.named.values()]
        return torch.stack(finite).all(0)

    def _views(self, memory: Tensor) -> dict[str, Tensor]:
        parts = memory.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
