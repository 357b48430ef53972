# truth: phase=forward operation=reciprocal step=1 module=none style=functional
"""Fuel from speed, as a function of distance and duration; one trip has no duration."""

import torch
from torch import nn

torch.manual_seed(10)
distance = 1 + torch.rand(960)
duration = 0.5 + torch.rand(960)
fuel = 0.3 * distance / duration + 0.1
duration[16 + 5] = 0

model = nn.ParameterList([torch.zeros(()), torch.zeros(())])
optimizer = torch.optim.SGD(model, lr=0.05)


def predict(distance, duration):
    speed = distance * torch.reciprocal(duration)  # broken <- here
    # fixed: speed = distance * torch.reciprocal(duration.clamp(min=0.25))
    return model[0] * speed + model[1]


losses = []
for step in range(60):
    rows = slice(16 * step, 16 * step + 16)
    error = predict(distance[rows], duration[rows]) - fuel[rows]
    loss = error.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
