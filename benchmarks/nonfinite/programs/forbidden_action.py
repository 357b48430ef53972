# truth: phase=backward operation=xlogy step=0 module=none style=mlp kind=masked
"""A policy with forbidden actions: their probability is 0, and the entropy has slope infinity."""

import torch
from torch import nn

torch.manual_seed(63)
model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def entropy(p):
    return -torch.xlogy(p, p).sum(1)  # broken <- here
    # fixed: return -torch.xlogy(p, p + 1e-6).sum(1)


losses = []
for step in range(60):
    state = torch.randn(32, 5)
    allowed = torch.ones(32, 4)
    allowed[::2, 3] = 0
    p = model(state).softmax(1) * allowed
    p = p / p.sum(1, keepdim=True)
    reward = torch.stack([state[:, 0], -state[:, 0], state[:, 1], state[:, 1] * 0], 1)
    loss = -(p * reward).sum(1).mean() - 0.01 * entropy(p).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
