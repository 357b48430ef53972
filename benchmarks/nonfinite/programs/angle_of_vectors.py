# truth: phase=forward operation=acos step=3 module=none style=mlp
"""The loss is the angle between two directions; rounding gives a cosine above 1."""

import torch
from torch import nn

torch.manual_seed(14)
true = torch.randn(3, 3)
model = nn.Linear(3, 3, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def angle(a, b):
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.acos(cosine)  # broken <- here
    # fixed: return torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))


losses = []
for step in range(60):
    x = torch.randn(64, 3)
    y = x @ true
    prediction = model(x)
    if step == 3:
        y[40:] = 3 * prediction[40:].detach()  # labels made by the network
    loss = angle(prediction, y).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
