"""A network that is sure of itself: it has learned, to the end, which digits are odd."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gradlab.mistakes.material import Batch, digits_batches, seeded


def at_least_five() -> list[Batch]:
    """Return digits and whether each is 5 or more, [64, 1]: the next question to learn."""
    return [(x, (y >= 5).float().unsqueeze(1)) for x, y in digits_batches()]


def confident_net(seed: int) -> nn.Sequential:
    """Return a network with one output, the logit of `odd`, whose logits are far from 0."""
    model = _net(seed)
    model.load_state_dict(_weights(seed))
    return model


def _net(seed: int) -> nn.Sequential:
    with seeded(seed):
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


@cache
def _weights(seed: int) -> dict[str, Tensor]:
    model = _net(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(12):
        for x, y in digits_batches():
            optimizer.zero_grad()
            odd = (y % 2).float().unsqueeze(1)
            binary_cross_entropy_with_logits(model(x), odd).backward()
            optimizer.step()
    return model.state_dict()
