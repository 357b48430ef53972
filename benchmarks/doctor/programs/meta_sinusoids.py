# corpus: set=unseen mistake=none
"""Model-agnostic meta-learning on sine waves: a gradient step inside the loss."""

import math

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F


def wave(g, points=10):
    amplitude = 0.5 + torch.rand(1, generator=g)
    phase = math.pi * torch.rand(1, generator=g)
    x = 6 * torch.rand(2 * points, 1, generator=g) - 3
    y = amplitude * torch.sin(x + phase)
    return x[:points], y[:points], x[points:], y[points:]


def adapt(net, x, y, rate=0.1):
    weights = dict(net.named_parameters())
    loss = F.mse_loss(net(x), y)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    pairs = zip(weights.items(), gradients, strict=True)
    return {name: w - rate * gradient for (name, w), gradient in pairs}


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        tasks = [wave(g) for _ in range(4)]
        optimizer.zero_grad()
        loss = torch.stack(
            [
                F.mse_loss(functional_call(net, adapt(net, x, y), (x_new,)), y_new)
                for x, y, x_new, y_new in tasks
            ]
        ).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
