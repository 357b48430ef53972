# truth: phase=backward operation=sqrt step=6 module=blocks.1.pool style=transformer
"""Blocks with activation checkpointing; a root in the second block has the argument 0."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(57)
WIDTH = 12


class RootPool(nn.Module):
    def forward(self, x):
        power = x.square().mean(1, keepdim=True)
        return torch.sqrt(power)  # broken <- here
        # fixed: return torch.sqrt(power + 1e-6)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.pool = RootPool()

    def forward(self, x):
        return x + self.mix(x) * self.pool(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(3, WIDTH, bias=False)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x):
        x = self.lift(x)
        x = self.blocks[0](x)
        x = checkpoint(self.blocks[1], x, use_reentrant=False)
        return self.head(x.mean(1)).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for step in range(60):
    x = torch.randn(16, 5, 3)
    y = x[..., 0].mean(1)
    if step == 6:
        x[4] = 0
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
