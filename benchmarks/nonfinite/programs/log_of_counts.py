# truth: phase=data operation=data step=2 sample=11 module=none style=mlp
"""Sales from the logarithm of visitor counts; on one day nobody came."""

import torch
from torch import nn

torch.manual_seed(86)
counts = torch.poisson(20 * torch.ones(60 * 24, 3))
counts[2 * 24 + 11, 1] = 0
x = torch.log(counts)
# fixed: x = torch.log(counts + 1) - 3
y = 0.1 * counts.sum(1) - 6

model = nn.Sequential(nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    inputs, target = x[24 * step : 24 * step + 24], y[24 * step : 24 * step + 24]  # <- here
    loss = (model(inputs).squeeze(1) - target).square().mean()  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
