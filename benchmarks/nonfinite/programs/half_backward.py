# truth: phase=backward operation=to,to_copy step=4 module=none style=mlp kind=half
"""A sum of weighted errors: the loss is finite, and its gradient in float16 is above 65504."""

import torch
from torch import nn

torch.manual_seed(81)
model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1)).half()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)


def weighted_loss(output, y, weight):
    error = output.float().squeeze(1) - y  # <- here
    total = (weight * error.square()).sum()
    return total / len(y)  # broken
    # fixed: return total / weight.sum()


losses = []
for step in range(60):
    x, weight = torch.randn(64, 6), torch.ones(64)
    if step == 4:
        weight[10] = 1e8  # the newest measurement
    loss = weighted_loss(model(x.half()), torch.sin(x[:, 0]), weight)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
