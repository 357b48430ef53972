"""What the mistakes are made on: real data in batches, seeds, and one step as it should be."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.data.dataset import Dataset
from gradlab.data.tabular import delivery, digits
from gradlab.mistakes.mistake import Practice, Step

Batch = tuple[Tensor, Tensor]


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Draw from torch's generator as if it had this seed, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@cache
def the_digits() -> Dataset:
    """Return the handwritten digits: 64 standardised pixels, 10 classes."""
    return digits(test_fraction=0.2)


@cache
def deliveries() -> Dataset:
    """Return deliveries: 6 standardised features, the standardised minutes that each took."""
    return delivery(samples=2000, noise=2.0, test_fraction=0.2)


def digits_batches(size: int = 64) -> list[Batch]:
    """Return the training digits in batches: pixels [size, 64] float32, labels [size]."""
    data = the_digits()
    return in_batches(data.x_train.float(), data.y_train, size)


def deliveries_batches(size: int = 64) -> list[Batch]:
    """Return the training deliveries in batches: features [size, 6] float32, minutes [size]."""
    data = deliveries()
    return in_batches(data.x_train.float(), data.y_train.float().squeeze(1), size)


def in_batches(x: Tensor, y: Tensor, size: int = 64) -> list[Batch]:
    """Cut samples into batches of equal size; what is left over is left out."""
    whole = len(x) // size * size
    return list(zip(x[:whole].split(size), y[:whole].split(size), strict=True))


def small_net(seed: int) -> nn.Sequential:
    """Return a network for the digits with one hidden layer of 32 ReLUs."""
    with seeded(seed):
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def on_digits(step: Step, seed: int = 0, lr: float = 0.3) -> Practice:
    """Return a small network for the digits, to be trained by plain descent."""
    model = small_net(seed)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=lr), digits_batches())


def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    """Make one update as it should be made."""
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss
