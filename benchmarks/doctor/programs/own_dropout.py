# corpus: set=unseen mistake=data_in_path
# why: tanh's derivative is computed from what dropout has written over
"""Digits with a custom dropout, which also shows how many units remain."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Dropout(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
        self.kept = 1.0

    def forward(self, h):
        if not self.training:
            return h
        mask = (torch.rand(h.shape) > self.p).float()
        self.kept = mask.mean().item()
        # fixed: return h * mask / (1 - self.p)
        h.data.mul_(mask).div_(1 - self.p)  # broken
        return h  # broken


def network():
    return nn.Sequential(
        nn.Linear(64, 96), nn.Tanh(), Dropout(0.5), nn.Linear(96, 48), nn.Tanh(), nn.Linear(48, 10)
    )


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 8 - 1, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = [(x[rows], y[rows]) for rows in torch.randperm(len(x)).split(64)]

    def step(model, optimizer, batch):
        model.train()
        images, labels = batch
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model, optimizer, batches
