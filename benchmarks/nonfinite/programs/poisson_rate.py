# truth: phase=forward operation=exp step=4 module=none style=functional
"""Counts from a log-linear model; one row of the table is a typing error."""

import torch
from torch import nn

torch.manual_seed(2)
x = torch.randn(1200, 5)
counts = torch.poisson((x @ torch.tensor([0.5, -0.4, 0.3, 0.0, 0.2])).exp())
x[4 * 20 + 7, 0] = 90_000.0  # 0.9 was meant

model = nn.ParameterDict({"weight": torch.full((5,), 0.1), "bias": torch.zeros(())})
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)


def rate(x):
    return torch.exp(x @ model["weight"] + model["bias"])  # broken <- here
    # fixed: return torch.exp((x.clamp(-5, 5) @ model["weight"] + model["bias"]).clamp(max=10))


losses = []
for step in range(60):
    rows = slice(20 * step, 20 * step + 20)
    mu = rate(x[rows])
    loss = (mu - counts[rows] * torch.log(mu)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
