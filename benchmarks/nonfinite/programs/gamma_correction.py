# truth: phase=forward operation=pow step=7 module=gamma style=cnn
"""Digits whose brightness is corrected with a learnt exponent."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(3)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
images[7 * 24 + 2] -= 0.05  # dark level of another camera


class Gamma(nn.Module):
    def __init__(self):
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(1.3))

    def forward(self, x):
        return (x + 0.01) ** self.exponent  # broken <- here
        # fixed: return (x + 0.01).clamp(min=0.01) ** self.exponent


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = Gamma()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(self.gamma(x))), 2)
        return self.head(x.flatten(1))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    rows = slice(24 * step, 24 * step + 24)
    loss = F.cross_entropy(model(images[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
