# truth: phase=forward operation=div step=2 module=features.0 style=cnn
"""Digits; each image is standardised inside the network, and one image is blank."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(7)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
images[2 * 28 + 20] = 0.5


class Standardise(nn.Module):
    def forward(self, x):
        spread = x.var((1, 2, 3), keepdim=True)  # broken
        # fixed: spread = x.var((1, 2, 3), keepdim=True) + 1e-5
        return (x - x.mean((1, 2, 3), keepdim=True)) / spread.sqrt()  # <- here


features = nn.Sequential(Standardise(), nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten())
model = nn.ModuleDict({"features": features, "head": nn.Linear(6 * 36, 10)})
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for step in range(60):
    rows = slice(28 * step, 28 * step + 28)
    logits = model["head"](model["features"](images[rows]))
    loss = F.cross_entropy(logits, labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
