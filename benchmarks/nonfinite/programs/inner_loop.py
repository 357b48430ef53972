# truth: phase=backward operation=sqrt step=8 module=none style=functional
"""A few gradient steps inside a step (meta-learning), with functional calls of a network."""

import torch
from torch import nn
from torch.func import functional_call

torch.manual_seed(89)
model = nn.Sequential(nn.Linear(1, 16, bias=False), nn.Tanh(), nn.Linear(16, 1, bias=False))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def task_loss(weights, x, y):
    error = functional_call(model, weights, (x,)) - y
    return error.square().mean().sqrt()  # broken <- here
    # fixed: return (error.square().mean() + 1e-6).sqrt()


def adapted(weights, x, y):
    loss = task_loss(weights, x, y)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    return {name: w - 0.1 * g for (name, w), g in zip(weights.items(), gradients, strict=True)}


losses = []
for step in range(60):
    slope = 0.2 * torch.rand(1) + 0.9
    x = torch.randn(2, 16, 1)
    y = torch.sin(slope * x)
    if step == 8:
        x[0], y[0] = 0, 0
    weights = adapted(dict(model.named_parameters()), x[0], y[0])
    loss = task_loss(weights, x[1], y[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
