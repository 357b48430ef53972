# corpus: set=unseen mistake=none
"""Three objectives, one backward pass each to save memory; their weights add to 1."""

import torch
from torch import nn
from torch.nn import functional as F

WEIGHT = {"rebuild": 0.5, "next": 0.3, "class": 0.2}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(3, 24, batch_first=True)
        self.rebuild = nn.Linear(24, 3)
        self.next = nn.Linear(24, 3)
        self.classify = nn.Linear(24, 2)

    def objective(self, name, x, after, label):
        states, last = self.encoder(x)
        if name == "rebuild":
            return F.mse_loss(self.rebuild(states), x)
        if name == "next":
            return F.mse_loss(self.next(states[:, -1]), after)
        return F.cross_entropy(self.classify(last[0]), label)


def gestures(n=480, length=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (n,), generator=g)
    t = torch.arange(length + 1) * torch.where(label == 1, 0.9, 0.5)[:, None]
    phase = 6.28 * torch.rand(n, 1, generator=g)
    x = torch.stack([(t + phase).sin(), (t + phase).cos(), (2 * t).sin()], -1)
    return x[:, :-1], x[:, -1], label


def main():
    torch.manual_seed(0)
    data = gestures()
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        for rows in torch.randperm(480).split(40):
            batch = [part[rows] for part in data]
            optimizer.zero_grad()
            total = 0.0
            for name, weight in WEIGHT.items():
                loss = weight * model.objective(name, *batch)
                loss.backward()
                total += loss.item()
            optimizer.step()
            losses.append(total)
    return losses
