# truth: phase=forward operation=log step=0 module=none style=mlp
"""A cross-entropy of probabilities; the outputs of the network are not between 0 and 1."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(13)
x, y = (torch.tensor(part, dtype=torch.float32) for part in load_breast_cancer(return_X_y=True))
x = (x - x.mean(0)) / x.std(0)
model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for step in range(60):
    rows = torch.randint(len(x), (32,))
    p = model(x[rows]).squeeze(1)  # broken
    # fixed: p = model(x[rows]).squeeze(1).sigmoid().clamp(1e-6, 1 - 1e-6)
    gain = y[rows] * torch.log(p) + (1 - y[rows]) * torch.log(1 - p)  # <- here
    loss = -gain.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
