# truth: phase=backward operation=reciprocal step=5 module=none style=functional
"""A ratio with a tiny denominator: 1e25 is a float32 number, and its derivative 1e50 is not."""

import torch
from torch import nn

torch.manual_seed(61)
model = nn.ParameterDict({"rate": torch.tensor(0.5), "shift": torch.tensor(0.2)})
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)


def response(dose):
    inverse = torch.reciprocal(model["rate"] * dose)  # broken <- here
    # fixed: inverse = torch.reciprocal(model["rate"] * dose + 1e-2)
    return 1 / (1 + inverse) + model["shift"]


losses = []
for step in range(60):
    dose = torch.rand(32) + 0.1
    target = dose / (1 + dose)
    if step == 5:
        dose[3], target[3] = 1e-25, 0.0
    loss = (response(dose) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
