# truth: phase=data operation=data step=6 sample=17 module=none style=mlp
"""Diabetes progression from a table in which one value is missing."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(27)
x, y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
x, y = 20 * x, (y - y.mean()) / y.std()
x[6 * 32 + 17, 2] = float("nan")
# fixed: x = x.nan_to_num(0.0)

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
losses = []
for step in range(60):
    first = 32 * (step % 13)
    inputs, target = x[first : first + 32], y[first : first + 32]  # <- here
    loss = (model(inputs).squeeze(1) - target).square().mean()  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
