# truth: phase=backward operation=acosh step=3 module=none style=mlp
"""Hyperbolic embeddings with accumulated gradients; in one micro-batch a pair has distance 0."""

import torch
from torch import nn

torch.manual_seed(58)
MICRO_BATCHES = 4
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def distance(u, v):
    u, v = (torch.tanh(w) * 0.6 for w in (u, v))
    between = (u - v).square().sum(1)
    ratio = between / ((1 - u.square().sum(1)) * (1 - v.square().sum(1)))
    return torch.acosh(1 + 2 * ratio)  # broken <- here
    # fixed: return torch.acosh(1 + 2 * ratio + 1e-4)


losses = []
for step in range(60):
    optimizer.zero_grad()
    total = 0.0
    for part in range(MICRO_BATCHES):
        a, b = torch.randn(16, 6), torch.randn(16, 6)
        if step == 3 and part == 2:
            b[5] = a[5]
        target = (a[:, :2] - b[:, :2]).norm(dim=1) / 2
        loss = (distance(model(a), model(b)) - target).square().mean() / MICRO_BATCHES
        loss.backward()
        total += loss.item()
    optimizer.step()
    losses.append(total)
