"""Data, networks and training steps that the mistakes share."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import Optimizer

from gradlab.data.dataset import Dataset
from gradlab.data.tabular import delivery, digits
from gradlab.mistakes.mistake import Program, Step, seeded

Batch = tuple[Tensor, Tensor]
LR, MAX_NORM = 0.3, 1.0
OUTLIER_BATCH, OUTLIER_FACTOR = 2, 1000.0  # the index of a batch in the wrong unit, its factor


@cache
def digits_dataset() -> Dataset:
    """Return the handwritten digits: 64 standardised pixels, 10 classes."""
    return digits(test_fraction=0.2)


@cache
def delivery_dataset() -> Dataset:
    """Return the deliveries: 6 standardised features, and standardised minutes as the target."""
    return delivery(samples=2000, noise=2.0, test_fraction=0.2)


def digits_batches(size: int = 64) -> list[Batch]:
    """Return the training digits in batches: pixels [size, 64] float32, labels [size]."""
    data = digits_dataset()
    return split_batches(data.x_train.float(), data.y_train, size)


def delivery_batches(size: int = 64) -> list[Batch]:
    """Return the training deliveries in batches: features [size, 6] float32, minutes [size]."""
    data = delivery_dataset()
    return split_batches(data.x_train.float(), data.y_train.float().squeeze(1), size)


def split_batches(x: Tensor, y: Tensor, size: int = 64) -> list[Batch]:
    """Split samples into batches of equal size, without the remainder.

    Args:
        x: the inputs, [N, features].
        y: the targets, [N, ...].
        size: the number of samples in a batch.

    Returns:
        The batches, each (x, y).
    """
    whole = len(x) // size * size
    return list(zip(x[:whole].split(size), y[:whole].split(size), strict=True))


def small_network(seed: int) -> nn.Sequential:
    """Return a network for the digits with one hidden layer of 32 ReLUs."""
    with seeded(seed):
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def digits_program(step: Step, seed: int = 0, lr: float = 0.3) -> Program:
    """Return a program that trains a small network on the digits with plain SGD.

    Args:
        step: the training step.
        seed: the seed of the weights.
        lr: the learning rate.

    Returns:
        The program.
    """
    model = small_network(seed)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=lr), digits_batches())


def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    """Make one correct update.

    Args:
        model: the network.
        optimizer: the optimiser of its weights.
        batch: pixels and labels.

    Returns:
        The loss, a mean over samples.
    """
    x, y = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def outlier_program(step: Step, seed: int = 0) -> Program:
    """Return a digits program with one batch whose pixels are OUTLIER_FACTOR times too large."""
    batches = [(x.clone(), y) for x, y in digits_batches()]
    batches[OUTLIER_BATCH][0].mul_(OUTLIER_FACTOR)
    model = small_network(seed)
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=LR), batches)


def at_least_five_batches() -> list[Batch]:
    """Return batches of digits with the target "5 or more", [64, 1], as 0 or 1."""
    return [(x, (y >= 5).float().unsqueeze(1)) for x, y in digits_batches()]


def confident_network(seed: int) -> nn.Sequential:
    """Return a trained network with one output, the logit of "odd", far from 0."""
    model = _odd_network(seed)
    model.load_state_dict(_confident_weights(seed))
    return model


def _odd_network(seed: int) -> nn.Sequential:
    with seeded(seed):
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


@cache
def _confident_weights(seed: int) -> dict[str, Tensor]:
    model = _odd_network(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(12):
        for x, y in digits_batches():
            optimizer.zero_grad()
            odd = (y % 2).float().unsqueeze(1)
            binary_cross_entropy_with_logits(model(x), odd).backward()
            optimizer.step()
    return model.state_dict()
