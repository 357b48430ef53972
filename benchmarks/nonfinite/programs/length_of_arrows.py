# truth: phase=backward operation=hypot step=4 module=none style=functional
"""Arrow lengths from a learnt stretch of the axes; one arrow has the length 0."""

import torch
from torch import nn

torch.manual_seed(91)
model = nn.ParameterDict({"stretch": torch.tensor([1.0, 1.0])})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def length(arrows):
    x, y = (arrows * model["stretch"]).unbind(1)
    return torch.hypot(x, y)  # broken <- here
    # fixed: return torch.hypot(x, y + 1e-6)


losses = []
for step in range(60):
    arrows = torch.randn(32, 2)
    if step == 4:
        arrows[30] = 0
    target = (arrows * torch.tensor([2.0, 0.5])).norm(dim=1)
    loss = (length(arrows) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
