# truth: phase=forward operation=div,reciprocal step=0 module=none style=functional
"""Optimal transport by Sinkhorn's iteration: with small entropy the kernel underflows to 0."""

import torch
from torch import nn

torch.manual_seed(41)
target = torch.randn(12, 2) + 3
model = nn.ParameterDict({"points": 0.3 * torch.randn(12, 2)})
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)


def transport_cost(x, y, entropy):
    cost = (x[:, None] - y[None]).square().sum(-1)
    kernel = torch.exp(-cost / entropy)
    u = torch.ones(len(x)) / len(x)
    for _ in range(10):
        v = (1 / len(y)) / (kernel.T @ u)  # <- here
        u = (1 / len(x)) / (kernel @ v)
    return (u[:, None] * kernel * v * cost).sum()


losses = []
for step in range(60):
    loss = transport_cost(model["points"], target, entropy=0.02)  # broken
    # fixed: loss = transport_cost(model["points"], target, entropy=2.0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
