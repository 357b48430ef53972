# corpus: set=tuned mistake=none
"""Model-agnostic meta-learning on sine waves: an inner step inside the graph of the outer one."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

INNER_LR = 0.05


def task(shots=10):
    amplitude, phase = 0.5 + torch.rand(1), math.pi * torch.rand(1)
    x = 4 * torch.rand(2 * shots, 1) - 2
    y = amplitude * torch.sin(2 * x + phase)
    return x[:shots], y[:shots], x[shots:], y[shots:]


def adapt(model, params, x, y):
    loss = F.mse_loss(functional_call(model, params, (x,)), y)
    grads = torch.autograd.grad(loss, tuple(params.values()), create_graph=True)
    return {k: p - INNER_LR * g for (k, p), g in zip(params.items(), grads, strict=True)}


def step(model, optimizer, tasks):
    params = dict(model.named_parameters())
    optimizer.zero_grad()
    total = 0.0
    for x_support, y_support, x_query, y_query in tasks:
        adapted = adapt(model, params, x_support, y_support)
        loss = F.mse_loss(functional_call(model, adapted, (x_query,)), y_query) / len(tasks)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


def practice():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return step, model, optimizer, [[task() for _ in range(4)] for _ in range(20)]
