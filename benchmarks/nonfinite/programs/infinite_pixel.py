# truth: phase=data operation=data step=3 sample=9 module=none style=cnn
"""Digits as floats from a file; a broken pixel is stored as infinity."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(28)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
images[3 * 29 + 9, 0, 4, 4] = float("inf")
# fixed: images = images.clamp(0, 1)

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for step in range(60):
    batch = images[29 * step : 29 * step + 29]  # <- here
    loss = F.cross_entropy(model(batch), labels[29 * step : 29 * step + 29])  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
