# corpus: set=unseen mistake=clip_after_step also=learning_rate
# why: the gradients are limited when the update is over
"""Delivery times with a few wild outliers, so the gradients are held within bounds."""

import torch
from torch import nn


def deliveries(n=1000, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    minutes = x[:, 0] + 0.5 * x[:, 1] * x[:, 2]
    lost = torch.rand(n, generator=g) < 0.01
    return x, torch.where(lost, minutes + 60, minutes)


def limit_gradients(parameters, bound):
    """Clamp each gradient entry to [-bound, bound]."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.clamp_(-bound, bound)


def run_epoch(model, optimizer, x, y, bound):
    total = 0.0
    for rows in torch.randperm(len(x)).split(50):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]).squeeze(1), y[rows])
        loss.backward()
        # fixed: limit_gradients(model.parameters(), bound)
        # fixed: optimizer.step()
        optimizer.step()  # broken
        limit_gradients(model.parameters(), bound)  # broken
        total += loss.item()
    return total / (len(x) / 50)


def main():
    torch.manual_seed(0)
    x, y = deliveries()
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    errors = []
    usual = y < 30
    for epoch in range(15):
        run_epoch(model, optimizer, x, y, bound=0.05)
        with torch.no_grad():
            errors.append((model(x[usual]).squeeze(1) - y[usual]).square().mean().item())
        print(f"epoch {epoch}: error on the usual ones {errors[-1]:.3f}")
    return errors
