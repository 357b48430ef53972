# truth: phase=forward operation=native_group_norm,group_norm step=0 module=1 style=cnn
"""Group norm without epsilon after a ReLU, with a channel that is always 0."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(44)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
first = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU())
with torch.no_grad():
    first[0].bias[2] = -9.0  # a channel that never fires
norm = nn.GroupNorm(8, 8, eps=0.0)  # broken
# fixed: norm = nn.GroupNorm(8, 8)
model = nn.Sequential(first, norm, nn.Flatten(), nn.Linear(8 * 36, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for step in range(60):
    rows = slice(29 * step, 29 * step + 29)
    loss = F.cross_entropy(model(images[rows]), labels[rows])  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
