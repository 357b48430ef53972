# truth: phase=forward operation=weight_norm_interface,weight_norm step=0
# truth: module=1.parametrizations.weight.0 style=mlp
"""Weight norm on a layer that starts at zero: the direction of the zero vector is 0 / 0."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

torch.manual_seed(48)
last = nn.Linear(32, 1)
nn.init.zeros_(last.weight)  # broken
# fixed: nn.init.normal_(last.weight, std=1e-3)
body = nn.Sequential(nn.Linear(5, 32), nn.Tanh())
model = nn.Sequential(body, weight_norm(last))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for step in range(60):
    x = torch.randn(64, 5)
    prediction = model(x).squeeze(1)  # <- here
    loss = (prediction - x[:, 0] - x[:, 1]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
