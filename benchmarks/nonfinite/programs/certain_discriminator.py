# truth: phase=forward operation=log step=12 module=none style=mlp
"""A discriminator of real and made points; it becomes so certain that 1 minus its output is 0."""

import torch
from torch import nn

torch.manual_seed(40)
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)


def discriminator_loss(real, made):
    return -(torch.log(real.sigmoid()) + torch.log(1 - made.sigmoid())).mean()  # broken <- here
    # fixed: softplus = nn.functional.softplus
    # fixed: return (softplus(-real) + softplus(made).clamp(max=20)).mean()


losses = []
for step in range(60):
    real = torch.randn(32, 2)
    made = torch.randn(32, 2) + torch.tensor([3.0, 0.0])
    if step == 12:
        made[4] = torch.tensor([-500.0, 0.0])
    loss = discriminator_loss(model(real), model(made))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
