# truth: phase=forward operation=log step=3 module=none style=functional
"""A learnt scale is compared with measured scales in the space before the softplus."""

import torch
from torch import nn

torch.manual_seed(50)
model = nn.ParameterDict({"weight": torch.zeros(3), "bias": torch.zeros(())})
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)


def inverse_softplus(y):
    return torch.log(torch.exp(y) - 1)  # broken <- here
    # fixed: y = y.clamp(min=1e-3)
    # fixed: return y + torch.log(-torch.expm1(-y))


losses = []
for step in range(60):
    x = torch.randn(40, 3)
    scale = nn.functional.softplus(x @ torch.tensor([1.0, -0.5, 0.2]) + 0.3)
    if step == 3:
        scale[17] = 1e-9  # exp(1e-9) is 1 in float32
    raw = x @ model["weight"] + model["bias"]
    loss = nn.functional.huber_loss(raw, inverse_softplus(scale))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
