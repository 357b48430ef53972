# truth: phase=forward operation=div step=5 module=none style=cnn
"""A soft overlap loss for segmentation: an image without object and without prediction is 0 / 0."""

import torch
from torch import nn

torch.manual_seed(43)
model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def overlap_loss(score, target):
    p = score.clamp(0, 1).flatten(1)
    t = target.flatten(1)
    common = (p * t).sum(1)
    return 1 - (common / (p.sum(1) + t.sum(1) - common)).mean()  # broken <- here
    # fixed: return 1 - ((common + 1) / (p.sum(1) + t.sum(1) - common + 1)).mean()


losses = []
for step in range(60):
    target = (torch.rand(12, 1, 8, 8) < 0.3).float()
    if step == 5:
        target[3] = 0
    images = 2 * target - 0.5 + 0.3 * torch.randn_like(target)
    score = 0.3 + model(images)
    score = torch.where(images.amax((1, 2, 3), keepdim=True) > 1.2, score, torch.zeros(()))
    loss = overlap_loss(score, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
