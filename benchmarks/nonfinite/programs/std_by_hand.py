# truth: phase=backward operation=sqrt step=5 module=spread style=mlp
"""Sets of numbers: their spread is a feature, and one set has four equal numbers."""

import torch
from torch import nn

torch.manual_seed(16)


class Spread(nn.Module):
    def forward(self, h):
        centred = h - h.mean(1, keepdim=True)
        return centred.square().mean(1).sqrt()  # broken <- here
        # fixed: return (centred.square().mean(1) + 1e-8).sqrt()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Sequential(nn.Linear(1, 16), nn.Tanh())
        self.spread = Spread()
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.spread(self.lift(x))).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(32, 4, 1)
    if step == 5:
        x[13] = x[13, :1]
    loss = (model(x) - x.std((1, 2))).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
