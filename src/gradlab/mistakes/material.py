"""Data, networks and steps that the mistakes are made of."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import Optimizer

from gradlab.data.dataset import Dataset
from gradlab.data.tabular import delivery, digits
from gradlab.mistakes.mistake import Practice, Step, seeded

Batch = tuple[Tensor, Tensor]
LR, MAX_NORM = 0.3, 1.0
PLACE, FACTOR = 2, 1000.0  # which batch is in the wrong unit, and by how much


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


def with_an_outlier(step: Step, seed: int = 0) -> Practice:
    """Return a small network for digits of which one batch is FACTOR times too bright."""
    batches = [(x.clone(), y) for x, y in digits_batches()]
    batches[PLACE][0].mul_(FACTOR)
    model = small_net(seed)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=LR), batches)


def at_least_five() -> list[Batch]:
    """Return digits and whether each is 5 or more, [64, 1]: the next question to learn."""
    return [(x, (y >= 5).float().unsqueeze(1)) for x, y in digits_batches()]


def confident_net(seed: int) -> nn.Sequential:
    """Return a network with one output, the logit of `odd`, whose logits are far from 0."""
    model = _odd_net(seed)
    model.load_state_dict(_confident_weights(seed))
    return model


def _odd_net(seed: int) -> nn.Sequential:
    with seeded(seed):
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


@cache
def _confident_weights(seed: int) -> dict[str, Tensor]:
    model = _odd_net(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(12):
        for x, y in digits_batches():
            optimizer.zero_grad()
            odd = (y % 2).float().unsqueeze(1)
            binary_cross_entropy_with_logits(model(x), odd).backward()
            optimizer.step()
    return model.state_dict()
