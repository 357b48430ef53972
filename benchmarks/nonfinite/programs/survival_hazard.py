# truth: phase=forward operation=log1p step=4 module=none style=mlp
"""Discrete survival times; the hazard of a machine that is switched off is exactly 1."""

import torch
from torch import nn

torch.manual_seed(9)
model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def log_likelihood(hazard, period):
    survived = torch.log1p(-hazard)  # broken <- here
    # fixed: survived = torch.log1p(-hazard.clamp(max=0.999))
    earlier = torch.arange(5) < period[:, None]
    failed = hazard[torch.arange(len(period)), period].log()
    return (survived * earlier).sum(1) + failed


losses = []
for step in range(60):
    x = torch.randn(40, 6)
    period = (2 + x[:, 0] + 0.5 * torch.randn(40)).clamp(0, 4).round().long()
    hazard = model(x).sigmoid()
    off = torch.zeros(40, 1)
    if step == 4:
        off[3] = 1.0
    hazard = torch.maximum(hazard, off)
    loss = -log_likelihood(hazard, period).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
