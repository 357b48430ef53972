# truth: phase=backward operation=linalg_svd step=0 module=rotation style=mlp
"""A rotation from the singular vectors of a matrix, which starts as the identity."""

import torch
from torch import nn

torch.manual_seed(24)


class Rotation(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.raw = nn.Parameter(torch.eye(size))  # broken
        # fixed: self.raw = nn.Parameter(torch.diag(1.0 + torch.arange(size)))

    def forward(self, x):
        u, _, v = torch.linalg.svd(self.raw)  # <- here
        return x @ u @ v


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rotation = Rotation(4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.scale * self.rotation(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
true, _ = torch.linalg.qr(torch.randn(4, 4))
losses = []
for step in range(60):
    x = torch.randn(32, 4)
    loss = (model(x) - x @ true).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
