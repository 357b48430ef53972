# truth: phase=forward operation=sqrt step=3 module=standardise style=mlp
"""A layer computes the variance as mean square minus squared mean; rounding makes it negative."""

import torch
from torch import nn

torch.manual_seed(31)


class Standardise(nn.Module):
    def forward(self, x):
        mean = x.mean(0)
        variance = x.square().mean(0) - mean.square()  # broken
        # fixed: variance = (x - mean).square().mean(0) + 1e-5
        return (x - mean) / (variance.sqrt() + 1e-5)  # <- here


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.standardise = Standardise()
        self.first = nn.Linear(3, 24)
        self.last = nn.Linear(24, 1)

    def forward(self, x):
        return self.last(torch.tanh(self.first(self.standardise(x)))).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(48, 3)
    y = x[:, 0] * x[:, 1]
    if step == 3:
        x[:, 2] = 4000.3 + 1e-4 * x[:, 2]  # the pressure of a closed valve
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
