# truth: phase=backward operation=pow step=0 module=none style=functional
"""A power law with a learnt exponent, which starts at 2; some bases are negative."""

import torch
from torch import nn

torch.manual_seed(21)
model = nn.ParameterDict({"scale": torch.tensor(0.5), "power": torch.tensor(2.0)})
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)


def law(x):
    return model["scale"] * x ** model["power"]  # broken <- here
    # fixed: return model["scale"] * (x.abs() + 1e-6) ** model["power"]


losses = []
for step in range(60):
    x = torch.randn(64).clamp(-2, 2)
    loss = (law(x) - 1.5 * x.abs() ** 1.7).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
