# truth: phase=forward operation=div step=4 module=none style=functional kind=masked
"""A ratio guarded by `where`: the loss is right, and the gradient of the hidden branch is NaN."""

import torch
from torch import nn

torch.manual_seed(65)
model = nn.ParameterDict({"weight": 0.1 * torch.randn(4), "bias": torch.ones(())})
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)


def yield_of(x, seeds):
    plants = (x @ model["weight"] + model["bias"]) * seeds
    ratio = plants / seeds  # broken <- here
    # fixed: ratio = plants / torch.where(seeds > 0, seeds, 1.0)
    return torch.where(seeds > 0, ratio, torch.zeros(()))


losses = []
for step in range(60):
    x = torch.randn(32, 4)
    seeds = torch.randint(1, 9, (32,)).float()
    if step == 4:
        seeds[:3] = 0
    target = (0.7 + 0.3 * x[:, 0]) * (seeds > 0)
    loss = (yield_of(x, seeds) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
