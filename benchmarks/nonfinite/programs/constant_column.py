# truth: phase=data operation=data step=0 module=none style=mlp
"""Features are standardised; one sensor was never connected, and its column is constant."""

import torch
from torch import nn

torch.manual_seed(29)
x = torch.randn(1000, 8)
y = x[:, 0] - x[:, 1]
x[:, 5] = 7.0
x = (x - x.mean(0)) / x.std(0)  # broken <- here
# fixed: x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)

model = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    rows = torch.randint(1000, (32,))
    inputs = x[rows]  # <- here
    loss = (model(inputs).squeeze(1) - y[rows]).square().mean()  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
