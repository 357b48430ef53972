"""Draws the minibatches of each step; the seed of a member fixes its order of samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.data.dataset import Dataset

BATCH_STREAM = 2**31
"""Added to a seed, so that batches and initialisation use different random numbers.

torch's CPU generator reads only the low 32 bits of a seed; seeds are below 2^31.
"""


class Batches:
    """Draws the indices of the samples of each step.

    Every epoch is a new permutation, without the last samples that do not fill a batch.

    Args:
        samples: Number of training samples.
        batch_size: Samples in a batch, B.
        seeds: Seed of each member.
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


class Minibatches:
    """Draws the samples and targets of each member's batch.

    Args:
        dataset: Training and held-out samples.
        batch_size: Samples in a batch, B.
        seeds: Seed of each member.
        device: Device of the batches.
        dtype: Dtype of the samples, and of the targets in regression.

    Attributes:
        dataset: Training and held-out samples.
        classify: Whether the targets are classes.
        batches: Draws the indices of the next batches.
        index_MB: Indices of the current batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seeds: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.classify = dataset.task == "classification"
        self.batches = Batches(len(dataset.x_train), batch_size, seeds)
        self.dataset, self._device, self._dtype = dataset, device, dtype
        self._x, self._y = self._moved(dataset.x_train, dataset.y_train)
        self.index_MB = torch.zeros(len(seeds), batch_size, dtype=torch.int64, device=device)

    def next(self, alive_M: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next samples, [M, B, F], and targets; stopped members repeat their batch."""
        batch = self.batches.next().to(self._device)
        self.index_MB = torch.where(alive_M[:, None], batch, self.index_MB)
        return self._x[self.index_MB], self._y[self.index_MB]

    def first_batch(self) -> tuple[Tensor, Tensor]:
        """Return the first B samples, [M, B, F], and targets; the current batch does not change."""
        members, batch_size = self.index_MB.shape
        x, y = self._x[:batch_size], self._y[:batch_size]
        return x.expand(members, *x.shape), y.expand(members, *y.shape)

    def member_batch(self, member: int) -> tuple[Tensor, Tensor]:
        """Return the samples, [1, B, F], and targets of one member's current batch."""
        index = self.index_MB[member : member + 1]
        return self._x[index], self._y[index]

    def held_out(self) -> tuple[Tensor, Tensor]:
        """Return all N held-out samples, [M, N, F], and targets."""
        x, y = self._moved(self.dataset.x_test, self.dataset.y_test)
        return x.expand(len(self.index_MB), -1, -1), y.expand(len(self.index_MB), *y.shape)

    def _moved(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        y_dtype = None if self.classify else self._dtype
        return x.to(self._device, self._dtype), y.to(self._device, y_dtype)
