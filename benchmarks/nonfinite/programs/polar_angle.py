# truth: phase=backward operation=atan2 step=2 module=none style=functional
"""The direction of a learnt displacement; one displacement is exactly (0, 0)."""

import torch
from torch import nn

torch.manual_seed(19)
model = nn.ParameterDict({"weight": 0.5 * torch.randn(4, 2)})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def direction(x):
    step_x, step_y = (x @ model["weight"]).unbind(1)
    return torch.atan2(step_y, step_x)  # broken <- here
    # fixed: return torch.atan2(step_y, step_x + 1e-3)


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
