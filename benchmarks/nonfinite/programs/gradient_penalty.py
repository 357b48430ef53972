# truth: phase=backward operation=sqrt step=2 module=none style=mlp
"""A critic with a gradient penalty; for one point all units are inactive, and its gradient is 0."""

import torch
from torch import nn

torch.manual_seed(60)
model = nn.Sequential(nn.Linear(2, 32, bias=False), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def penalty(x):
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    norm = slope.square().sum(1).sqrt()  # broken <- here
    # fixed: norm = (slope.square().sum(1) + 1e-9).sqrt()
    return (norm - 1).square().mean()


losses = []
for step in range(60):
    real, made = torch.randn(32, 2) + 2, torch.randn(32, 2)
    between = (real + made) / 2
    if step == 2:
        between[14] = 0
    loss = (model(made) - model(real)).mean() + 10 * penalty(between)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
