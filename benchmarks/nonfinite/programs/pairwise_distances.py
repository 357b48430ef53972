# truth: phase=backward operation=sqrt step=0 module=none style=mlp
"""A map of points that preserves distances; each point has the distance 0 from itself."""

import torch
from torch import nn

torch.manual_seed(22)
model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)


def distances(z):
    difference = z[:, None] - z[None]
    squared = difference.square().sum(-1)
    return squared.sqrt()  # broken <- here
    # fixed: return (squared + 1e-9).sqrt()


losses = []
for step in range(60):
    x = torch.randn(24, 8) * torch.tensor([2.0, 2.0] + 6 * [0.1])
    stress = (distances(model(x)) - torch.cdist(x, x)).square()
    loss = stress.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
