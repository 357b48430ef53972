# corpus: set=unseen mistake=zero_grad_too_late
# why: the monitor clears the gradients before the update has used them
"""Forecasting a noisy seasonal series, with a monitor of the gradient's norm."""

import math

import torch
from torch import nn


class GradientMonitor:
    """Keeps the norm of every layer's gradient, and leaves no trace on the model."""

    def __init__(self, model):
        self.model = model
        self.norms = []

    def after_backward(self):
        row = {}
        for name, parameter in self.model.named_parameters():
            row[name] = parameter.grad.norm().item()
            parameter.grad = None  # broken
        self.norms.append(row)


class Forecaster(nn.Module):
    def __init__(self, window=16, hidden=24):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        states, _ = self.gru(x.unsqueeze(-1))
        return self.out(states[:, -1]).squeeze(-1)


def windows(length=600, window=16):
    t = torch.arange(length) / 12 * 2 * math.pi
    g = torch.Generator().manual_seed(0)
    series = t.sin() + 0.5 * (t / 3).cos() + 0.1 * torch.randn(length, generator=g)
    rows = series.unfold(0, window + 1, 1)
    return rows[:, :-1], rows[:, -1]


class Training:
    def __init__(self, model, hooks=()):
        self.model, self.hooks = model, hooks
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(x), y)
        loss.backward()
        for hook in self.hooks:
            hook.after_backward()
        self.optimizer.step()
        return loss.item()


def main():
    torch.manual_seed(0)
    x, y = windows()
    model = Forecaster()
    training = Training(model, hooks=[GradientMonitor(model)])
    losses = []
    for _ in range(6):
        losses += [training.step(x[rows], y[rows]) for rows in torch.randperm(len(x)).split(64)]
    return losses
