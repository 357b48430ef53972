# truth: phase=forward operation=exp step=0 module=none style=cnn
"""Contrastive learning of digits with a small temperature and no log-sum-exp."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(34)
images = torch.tensor(load_digits().data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def contrast(a, b, temperature=0.01):
    similarity = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    weights = torch.exp(similarity)  # broken <- here
    return -(weights.diag() / weights.sum(1)).log().mean()  # broken
    # fixed: return F.cross_entropy(similarity, torch.arange(len(a)))


losses = []
for step in range(60):
    batch = images[29 * step : 29 * step + 29]
    views = [batch + 0.2 * torch.randn_like(batch) for _ in range(2)]
    loss = contrast(model(views[0]), model(views[1]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
