"""Trainings with dropout, whose functions return (step, model, optimizer, batch) for a replay."""

import torch
from torch import nn
from torch.nn import functional as F

BAD_STEP = 41


class Root(nn.Module):
    """Computes sqrt(x² + 1 - x²), which is NaN for large x, because inf - inf is."""

    def forward(self, x):
        return torch.sqrt(x.square() + 1 - x * x)


def mlp():
    hidden = [nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)]
    model = nn.Sequential(*hidden, nn.Linear(16, 1), Root())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def step(model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        F.mse_loss(model(x) * y.abs().sum().sign(), y).backward()
        optimizer.step()

    return step, model, optimizer, (torch.ones(8, 6), torch.ones(8, 1))


def transformer():
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), Root())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

    def step(model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        nn.functional.mse_loss(model[1](model[0](x).square()), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step, model, optimizer, (torch.ones(4, 5, 8), torch.ones(4, 5, 8))


def accumulation():
    _, model, _, batch = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    def step(model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        for _ in range(3):
            (F.mse_loss(model(x), y) / 3).backward()
        optimizer.step()

    return step, model, optimizer, batch


def spoil(name, batch, number):
    """Return the batch of a step; the batch of the bad step makes its loss NaN."""
    x, y = (torch.randn_like(part) for part in batch)
    if number == BAD_STEP:
        x = x * 1e20 if name == "transformer" else x.clamp(-1, 1) * 3e38
    return x, y
