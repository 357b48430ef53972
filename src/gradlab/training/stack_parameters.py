"""The parameters of a stack: one tensor [M, ...] per name, all in one block of memory."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Named = Mapping[str, Tensor]
"""Tensors [M, ...] by dotted name."""


class Parameters:
    """The parameters of M networks with the same shapes.

    What is computed for all parameters (norm, clipping, update) passes through `blocks`, which is
    the fastest layout: in a stack, one block per parameter, since these are large; for one network,
    a single block with all its small parameters.

    Attributes:
        size: M, the number of networks.
        shapes: by dotted name, [M, ...].
        memory: all parameters of all members, one after another.
        named: views of `memory` by dotted name, without gradient.
        blocks: the same as a list of blocks.
        saved: like `named`, as of the last call of `save`.
    """

    def __init__(self, members: Sequence[nn.Module], device: torch.device) -> None:
        """Copy the parameters of networks that have the same shapes."""
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
        """A copy of all parameters, [M, P], a row per member."""
        return torch.cat([p.flatten(1) for p in self.named.values()], dim=1)

    def name_blocks(self, blocks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return tensors that are laid out as `blocks` by name, each [M, ...]; no copy."""
        if self.size == 1:
            return self._views(blocks[0][0])
        return dict(zip(self.shapes, blocks, strict=True))

    def block_named(self, named: Named) -> list[Tensor]:
        """Return tensors [M, ...] by name laid out as `blocks`."""
        if self.size > 1:
            return list(named.values())
        return [torch.cat([t.flatten() for t in named.values()])[None]]

    def block_grads(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of the leaves laid out as `blocks`, valid until the next call."""
        if self.size == 1:
            # Into the same memory at every step: the system zeroes new memory, page by page.
            return [torch.cat([grad.flatten() for grad in grads], out=self._gathered)[None]]
        return [grad.contiguous() for grad in grads]

    def save(self) -> None:
        """Copy all parameters to `saved`, for `restore`."""
        self._saved_memory.copy_(self.memory)

    def restore(self, which_M: Tensor) -> None:
        """Return the members in `which_M` to the parameters that were saved."""
        for now, before in zip(self.named.values(), self.saved.values(), strict=True):
            which = which_M.view(-1, *[1] * (now.ndim - 1))
            now.copy_(torch.where(which, before, now))

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
