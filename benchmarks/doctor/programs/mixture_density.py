# corpus: set=unseen mistake=none
"""A mixture density network for the inverse of a wavy curve, where one x has several y."""

import math
from collections import deque

import torch
from torch import nn
from torch.nn import functional as F


class MixtureDensity(nn.Module):
    def __init__(self, components=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh())
        self.weight = nn.Linear(32, components)
        self.mean = nn.Linear(32, components)
        self.spread = nn.Linear(32, components)

    def forward(self, x):
        h = self.body(x)
        return self.weight(h).softmax(1), self.mean(h), F.softplus(self.spread(h)) + 1e-3


def negative_log_likelihood(weight, mean, spread, y):
    normal = torch.exp(-0.5 * ((y - mean) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    density = (weight * normal).sum(1)
    return -torch.log(density.clamp(min=1e-10)).mean()


def main():
    torch.manual_seed(0)
    y = torch.rand(800, 1) * 2 - 1
    x = y + 0.3 * torch.sin(2 * math.pi * y) + 0.05 * torch.randn(800, 1)
    model = MixtureDensity()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.003)
    recent, losses = deque(maxlen=20), []
    for _ in range(12):
        for rows in torch.randperm(800).split(80):
            loss = negative_log_likelihood(*model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recent.append(loss.item())
            losses.append(sum(recent) / len(recent))
    return losses
