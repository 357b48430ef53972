# truth: phase=forward operation=div step=6 module=none style=cnn
"""An augmentation stretches the contrast of each crop: a crop without contrast is 0 / 0."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(88)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
images[6 * 25 + 7] = 1.0  # a sheet of paper


def stretch(images):
    crops = images[:, :, 1:, 1:]
    low, high = crops.amin((1, 2, 3), keepdim=True), crops.amax((1, 2, 3), keepdim=True)
    return (crops - low) / (high - low)  # broken <- here
    # fixed: return (crops - low) / (high - low).clamp(min=1e-3)


model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 25, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for step in range(60):
    rows = slice(25 * step, 25 * step + 25)
    loss = F.cross_entropy(model(stretch(images[rows])), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
