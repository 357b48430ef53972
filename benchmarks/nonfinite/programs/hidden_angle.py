# truth: phase=backward operation=atan2 step=3 module=heading style=transformer kind=masked
"""Headings of players as a feature; players who stand still are masked after `atan2`."""

import torch
from torch import nn

torch.manual_seed(67)
WIDTH = 8


class Heading(nn.Module):
    def __init__(self):
        super().__init__()
        self.turn = nn.Linear(2, 2, bias=False)

    def forward(self, velocity):
        x, y = self.turn(velocity).unbind(-1)
        still = (velocity == 0).all(-1)
        # fixed: x = torch.where(still, 1.0, x)
        angle = torch.atan2(y, x)  # broken <- here
        # fixed: angle = torch.atan2(y, x)
        return torch.where(still, 0.0, angle)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.heading = Heading()
        self.lift = nn.Linear(2, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, velocity):
        angle = self.heading(velocity)
        x = self.lift(torch.stack([angle.sin(), angle.cos()], -1))
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1)).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    velocity = torch.randn(24, 5, 2)
    if step == 3:
        velocity[8, 2] = 0
    target = nn.functional.normalize(velocity, dim=-1)[..., 0].mean(1)
    loss = (model(velocity) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
