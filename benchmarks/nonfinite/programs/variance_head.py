# truth: phase=forward operation=exp step=14 module=none style=mlp
"""A regression with a predicted log-variance; some rows of the data have a wrong unit."""

import torch
from torch import nn

torch.manual_seed(35)
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def negative_log_likelihood(output, y):
    mean, log_variance = output.unbind(1)
    precision = torch.exp(-log_variance)  # broken <- here
    # fixed: precision = torch.exp(-log_variance.clamp(-7, 7))
    return 0.5 * (precision * (y - mean).clamp(-9, 9).square() + log_variance.clamp(-7, 7)).mean()


losses = []
for step in range(60):
    x = torch.randn(64, 4)
    y = x[:, 0] + x[:, 1].exp() * 0.1 * torch.randn(64)
    if step == 14:
        x[20:40] *= 10_000
    loss = negative_log_likelihood(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
