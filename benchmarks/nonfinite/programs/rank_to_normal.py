# truth: phase=forward operation=erfinv step=0 module=gaussianise style=mlp
"""Ranks of the batch become normal quantiles; the highest rank is the quantile of 1."""

import math

import torch
from torch import nn

torch.manual_seed(49)


class Gaussianise(nn.Module):
    def forward(self, x):
        rank = x.argsort(0).argsort(0) + 1
        share = rank / len(x)  # broken
        # fixed: share = (rank - 0.5) / len(x)
        return math.sqrt(2) * torch.erfinv(2 * share - 1)  # <- here


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gaussianise = Gaussianise()
        self.layers = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, x):
        return self.layers(self.gaussianise(x)).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(50, 4).exp()
    loss = (model(x) - x[:, 0].log()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
