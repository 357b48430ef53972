# truth: phase=forward operation=pow,square step=18 module=none style=functional
"""Linear regression with a learning rate far above the stable one: the error grows each step."""

import torch
from torch import nn

torch.manual_seed(54)
model = nn.ParameterDict({"weight": torch.zeros(8), "bias": torch.zeros(())})
optimizer = torch.optim.SGD(model.parameters(), lr=5.0)  # broken
# fixed: optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
true = torch.randn(8)
losses = []
for step in range(60):
    x = torch.randn(64, 8)
    error = x @ model["weight"] + model["bias"] - x @ true
    loss = error.square().mean()  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
