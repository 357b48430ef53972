# truth: phase=forward operation=div step=2 module=none style=functional
# twin: torch computes 1/0 in the derivative of atan2(0, 0), and masks the result
"""The direction of a learnt displacement; one displacement is exactly (0, 0)."""

import torch
from torch import nn

torch.manual_seed(19)
model = nn.ParameterDict({"weight": 0.5 * torch.randn(4, 2)})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def direction(x):
    east, north = (x @ model["weight"]).unbind(1)
    return torch.atan(north / east) + torch.pi * (east < 0)  # broken <- here
    # fixed: return torch.atan2(north, east)


losses = []
for step in range(60):
    x = torch.randn(32, 4)
    target = torch.atan2(x[:, 1], x[:, 0])
    if step == 2:
        x[8], target[8] = 0, 0  # an animal that does not move
    loss = (1 - torch.cos(direction(x) - target)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
