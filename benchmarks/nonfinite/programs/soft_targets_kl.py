# truth: phase=forward operation=log step=0 module=none style=cnn
"""Distillation: the teacher's probabilities contain exact zeros."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(12)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
teacher = 0.9 * F.one_hot(labels, 10) + 0.1 * F.one_hot((labels + 1) % 10, 10)

model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(60):
    rows = slice(29 * step, 29 * step + 29)
    p, log_q = teacher[rows], model(images[rows]).log_softmax(1)
    loss = (p * (p.log() - log_q)).sum(1).mean()  # broken <- here
    # fixed: loss = (torch.xlogy(p, p) - p * log_q).sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
