# truth: phase=backward operation=hypot step=3 module=speed style=transformer kind=masked
"""Speeds of players as a feature; the speed of players who stand still is masked."""

import torch
from torch import nn

torch.manual_seed(67)
WIDTH = 8


class Speed(nn.Module):
    def __init__(self):
        super().__init__()
        self.turn = nn.Linear(2, 2, bias=False)

    def forward(self, velocity):
        x, y = self.turn(velocity).unbind(-1)
        still = (velocity == 0).all(-1)
        # fixed: x = torch.where(still, 1.0, x)
        speed = torch.hypot(x, y)  # broken <- here
        # fixed: speed = torch.hypot(x, y)
        return torch.where(still, 0.0, speed)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.speed = Speed()
        self.lift = nn.Linear(1, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, velocity):
        x = self.lift(self.speed(velocity)[..., None])
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1)).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    velocity = torch.randn(24, 5, 2)
    if step == 3:
        velocity[8, 2] = 0
    target = velocity.norm(dim=-1).mean(1)
    loss = (model(velocity) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
