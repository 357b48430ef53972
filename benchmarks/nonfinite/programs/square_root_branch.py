# truth: phase=backward operation=sqrt step=0 module=1 style=mlp kind=masked
"""A network with the activation sqrt(x) for positive x and x otherwise."""

import torch
from torch import nn

torch.manual_seed(17)


class SignedRoot(nn.Module):
    def forward(self, x):
        positive = x > 0
        root = torch.sqrt(x * positive)  # broken <- here
        # fixed: root = torch.sqrt(torch.where(positive, x, 1) + 1e-3)
        return torch.where(positive, root, x)


model = nn.Sequential(nn.Linear(5, 32), SignedRoot(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
losses = []
for step in range(60):
    x = torch.randn(50, 5)
    y = x[:, :1] + x[:, 1:2].abs()
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
