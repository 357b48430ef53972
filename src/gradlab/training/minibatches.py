"""The samples of each step: every member of a stack has an order of samples fixed by its seed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.data.dataset import Dataset

BATCH_STREAM = 2**31
"""Added to a seed for the batches, so that they share no random numbers with the initialisation.

torch's CPU generator reads only the low 32 bits of a seed; seeds stay below 2^31.
"""


class Batches:
    """Indices of the samples of each step, [M, B]; every epoch is a new permutation.

    An epoch leaves out the samples that do not fill a batch.
    """

    def __init__(self, samples: int, batch_size: int, seeds: Sequence[int]) -> None:
        """Seed the order of the samples.

        Args:
            samples: how many there are.
            batch_size: B.
            seeds: of each member.
        """
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


class Minibatches:
    """The samples and targets of each member's present batch.

    Attributes:
        dataset: training and held-out samples.
        classify: whether the targets are classes.
        batches: the indices of the steps to come.
        index_MB: the indices of the present batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seeds: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Move the data to the device.

        Args:
            dataset: training and held-out samples.
            batch_size: B.
            seeds: of each member.
            device: where the batches are wanted.
            dtype: of the samples, and of targets that are not classes.
        """
        self.classify = dataset.task == "classification"
        self.batches = Batches(len(dataset.x_train), batch_size, seeds)
        self.dataset, self._device, self._dtype = dataset, device, dtype
        self._x, self._y = self._moved(dataset.x_train, dataset.y_train)
        self.index_MB = torch.zeros(len(seeds), batch_size, dtype=torch.int64, device=device)

    def next(self, alive_M: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next x, [M, B, F], and y; members that are not alive repeat their last."""
        batch = self.batches.next().to(self._device)
        self.index_MB = torch.where(alive_M[:, None], batch, self.index_MB)
        return self._x[self.index_MB], self._y[self.index_MB]

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first samples of the set, the same for every member; no step is taken."""
        members, batch_size = self.index_MB.shape
        x, y = self._x[:batch_size], self._y[:batch_size]
        return x.expand(members, *x.shape), y.expand(members, *y.shape)

    def of_member(self, member: int) -> tuple[Tensor, Tensor]:
        """Return x, [1, B, F], and y of one member's present batch."""
        index = self.index_MB[member : member + 1]
        return self._x[index], self._y[index]

    def held_out(self) -> tuple[Tensor, Tensor]:
        """Return x, [M, N, F], and y of all held-out samples, the same for every member."""
        x, y = self._moved(self.dataset.x_test, self.dataset.y_test)
        return x.expand(len(self.index_MB), -1, -1), y.expand(len(self.index_MB), *y.shape)

    def _moved(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        y_dtype = None if self.classify else self._dtype
        return x.to(self._device, self._dtype), y.to(self._device, y_dtype)
