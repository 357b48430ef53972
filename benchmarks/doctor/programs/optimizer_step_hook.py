# corpus: set=tuned mistake=zero_grad_too_late
# why: between backward and step
"""Diabetes again, with a base class that lets one override how the optimiser steps."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn


class Module(nn.Module):
    def backward(self, loss):
        loss.backward()

    def optimizer_step(self, optimizer):
        # fixed: optimizer.step()
        # fixed: optimizer.zero_grad()
        optimizer.zero_grad()  # broken
        optimizer.step()  # broken


class Regression(Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(10, 32)
        self.output = nn.Linear(32, 1)

    def forward(self, x):
        return self.output(torch.relu(self.hidden(x)))

    def loss(self, batch):
        x, y = batch
        return nn.functional.smooth_l1_loss(self(x), y)


def step(module, optimizer, batch):
    loss = module.loss(batch)
    module.backward(loss)
    module.optimizer_step(optimizer)
    return loss.item()


def practice():
    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    module = Regression()
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    return step, module, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(32)]
