# truth: phase=forward operation=lgamma step=2 module=none style=mlp
"""A Beta likelihood of shares; the ReLU of an output is a concentration of exactly 0."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(37)
model = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2))
with torch.no_grad():
    model[-1].bias.fill_(1.5)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)


def log_beta(concentration):
    a, b = concentration.unbind(1)
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)  # <- here


losses = []
for step in range(60):
    x = torch.randn(32, 3)
    share = torch.sigmoid(x[:, 0] + 0.3 * torch.randn(32)).clamp(0.01, 0.99)
    if step == 2:
        x[5] *= 1e4
    concentration = F.relu(model(x) - 1e-2 * x.abs().amax(1, keepdim=True))  # broken
    # fixed: concentration = F.softplus(model(x)) + 1e-2
    a, b = concentration.unbind(1)
    loss = (log_beta(concentration) - (a - 1) * share.log() - (b - 1) * (1 - share).log()).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
