# truth: phase=update operation=adam,addcdiv step=0 module=none style=functional
"""Adam without epsilon: squares of gradients near 1e-25 underflow, and the denominator is 0."""

import torch
from torch import nn

torch.manual_seed(84)
model = nn.ParameterDict({"slope": torch.zeros(3), "level": torch.zeros(())})
optimizer = torch.optim.Adam(model.parameters(), lr=0.05, eps=0.0)  # broken
# fixed: optimizer = torch.optim.Adam(model.parameters(), lr=0.05, eps=1e-8)
units = torch.tensor([1.0, 1.0, 1e-25])  # the last column is in light years
losses = []
for step in range(60):
    x = torch.randn(32, 3)
    y = x[:, 0] - 0.5 * x[:, 1] + 0.2
    loss = ((x * units) @ model["slope"] + model["level"] - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- here
    losses.append(loss.item())
