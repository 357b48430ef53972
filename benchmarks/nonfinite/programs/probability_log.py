# truth: phase=forward operation=log step=5 module=none style=mlp
"""Digits with a loss of probabilities; some images are bright."""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
x = x.float() / 16
x[5 * 32 : 5 * 32 + 3] *= 1000  # images in other units
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(60):
    batch = slice(32 * step % 1760, 32 * step % 1760 + 32)
    optimizer.zero_grad()
    probabilities = model(x[batch]).softmax(1)  # broken
    picked = probabilities[range(32), y[batch]].log()  # broken <- here
    # fixed: log_probabilities = model(x[batch].clamp(max=1)).log_softmax(1)
    # fixed: picked = log_probabilities[range(32), y[batch]]
    loss = -picked.mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
