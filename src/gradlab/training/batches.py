"""The order of the samples: each member of a stack has its own, fixed by its seed."""

from collections.abc import Sequence

import torch
from torch import Tensor

BATCH_STREAM = 2**31
"""Added to a seed for the batches, so that they share no random numbers with the initialisation.

torch's CPU generator reads the low 32 bits of a seed only; seeds stay below 2^31.
"""


class Batches:
    """Indices of the samples of each step, [M, B]; every epoch is a new permutation.

    The samples left over at the end of an epoch are not used in it.
    """

    def __init__(self, samples: int, batch_size: int, seeds: Sequence[int]) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.generators = [torch.Generator().manual_seed(seed + BATCH_STREAM) for seed in seeds]
        self._epoch: list[Tensor] = []

    def next(self) -> Tensor:
        """Return the next step's indices, [M, B] int64, on the CPU."""
        if not self._epoch:
            orders = [torch.randperm(self.samples, generator=g) for g in self.generators]
            usable = self.samples - self.samples % self.batch_size
            self._epoch = list(torch.stack(orders)[:, :usable].split(self.batch_size, dim=1))[::-1]
        return self._epoch.pop()
