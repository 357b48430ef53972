# truth: phase=forward operation=log step=0 module=none style=cnn kind=masked
"""A log-loss of pixels with weights; the border has weight 0, and 0 times infinity is NaN."""

import torch
from torch import nn

torch.manual_seed(64)
model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
weight = torch.zeros(8, 8)
weight[1:-1, 1:-1] = 1

losses = []
for step in range(60):
    target = (torch.rand(16, 1, 8, 8) < 0.4).float()
    images = target + 0.5 * torch.randn_like(target)
    p = torch.sigmoid(model(images)) * weight
    # fixed: p = p.clamp(1e-4, 1 - 1e-4)
    error = -target * torch.log(p) - (1 - target) * torch.log(1 - p)  # broken <- here
    # fixed: error = -target * torch.log(p) - (1 - target) * torch.log(1 - p)
    loss = (weight * error).sum() / weight.sum() / 16
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
