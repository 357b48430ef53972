# corpus: set=unseen mistake=none
"""Air quality by the hour: in-place operations where nothing needs the old value."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        h = self.linear(self.norm(x))
        h += self.shift
        return x + F.relu_(h)


def hours(n=960, seed=0):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(n, dtype=torch.float32).unsqueeze(1)
    x = torch.cat([(2 * math.pi * t / p).sin() for p in (24, 12, 168)], 1)
    x = torch.cat([x, torch.randn(n, 3, generator=g)], 1)
    y = x[:, :1] * (1 + x[:, 3:4].tanh()) + x[:, 2:3]
    return x, y


def main():
    torch.manual_seed(0)
    x, y = hours()
    model = nn.Sequential(nn.Linear(6, 24), Block(24), Block(24), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    total, history = torch.zeros(()), []
    for _ in range(8):
        total.zero_()
        for rows in torch.randperm(len(x)).split(60):
            batch = x[rows]
            batch[:, 3:].mul_(torch.bernoulli(torch.full((len(rows), 1), 0.95)))
            optimizer.zero_grad()
            loss = F.mse_loss(model(batch), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        history.append(total.item() / len(x))
    return history
