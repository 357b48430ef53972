# corpus: set=tuned mistake=none
"""Sharpness-aware minimisation (Foret et al. 2021): the gradient of the worst neighbour."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

RHO = 0.05


@torch.no_grad()
def climb(model):
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    moves = [RHO * p.grad / (norm + 1e-12) for p in model.parameters()]
    for p, move in zip(model.parameters(), moves, strict=True):
        p.add_(move)
    return moves


@torch.no_grad()
def descend(model, moves):
    for p, move in zip(model.parameters(), moves, strict=True):
        p.sub_(move)


def step(model, optimizer, batch):
    x, y = batch
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    moves = climb(model)
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    descend(model, moves)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
