# corpus: set=unseen mistake=none
"""Two tasks in turn for a shared trunk, and a head that is kept for a task still to come."""

import torch
from torch import nn
from torch.nn import functional as F


class Hydra(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(9, 32), nn.ReLU())
        self.heads = nn.ModuleDict(
            {"class": nn.Linear(32, 3), "score": nn.Linear(32, 1), "reserved": nn.Linear(32, 5)}
        )

    def forward(self, x, task):
        return self.heads[task](self.trunk(x))


def task_batches(g):
    weights = torch.randn(9, 3, generator=g)
    while True:
        x = torch.randn(48, 9, generator=g)
        yield "class", x, (x @ weights).argmax(1)
        x = torch.randn(48, 9, generator=g)
        yield "score", x, (x[:, :1] - x[:, 1:2]).tanh()


LOSS = {"class": F.cross_entropy, "score": F.mse_loss}


def main():
    torch.manual_seed(0)
    batches = task_batches(torch.Generator().manual_seed(0))
    model = Hydra()
    optimizer = torch.optim.Adam(
        [
            {"params": model.trunk.parameters()},
            {"params": model.heads["class"].parameters(), "lr": 0.02},
            {"params": model.heads["score"].parameters(), "lr": 0.02},
        ],
        lr=5e-3,
    )
    losses = {"class": [], "score": []}
    for _ in range(160):
        task, x, y = next(batches)
        optimizer.zero_grad()
        loss = LOSS[task](model(x, task), y)
        loss.backward()
        optimizer.step()
        losses[task].append(loss.item())
    return [a + b for a, b in zip(losses["class"], losses["score"], strict=True)]
