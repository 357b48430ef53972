# corpus: set=unseen mistake=none
"""Sharpness-aware minimisation: two passes per update, the first only to find where to look."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale
from torch import nn


class SAM:
    def __init__(self, parameters, base, rho=0.05):
        self.parameters = list(parameters)
        self.base, self.rho = base, rho
        self.offsets = []

    @torch.no_grad()
    def climb(self):
        norm = torch.stack([p.grad.norm() for p in self.parameters]).norm() + 1e-12
        self.offsets = [self.rho / norm * p.grad for p in self.parameters]
        for p, offset in zip(self.parameters, self.offsets, strict=True):
            p.add_(offset)
        self.base.zero_grad()

    @torch.no_grad()
    def descend(self):
        for p, offset in zip(self.parameters, self.offsets, strict=True):
            p.sub_(offset)
        self.base.step()
        self.base.zero_grad()


def main():
    torch.manual_seed(0)
    data = load_breast_cancer()
    x = torch.tensor(scale(data.data), dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 1), nn.Flatten(0))
    base = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    sam = SAM(model.parameters(), base)
    criterion = nn.BCEWithLogitsLoss()
    losses = []
    for _ in range(4):
        for rows in torch.randperm(len(x)).split(48):
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            sam.climb()
            criterion(model(x[rows]), y[rows]).backward()
            sam.descend()
            losses.append(loss.item())
    return losses
