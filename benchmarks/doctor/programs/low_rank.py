# corpus: set=tuned mistake=zero_init also=constant_init
# why: both factors are zero, so neither has a gradient
"""Layers whose weight is a product of two thin matrices, W = U V."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class LowRankLinear(nn.Module):
    def __init__(self, n_in, n_out, rank=8):
        super().__init__()
        # fixed: self.U = nn.Parameter(torch.randn(n_out, rank) / rank**0.5)
        # fixed: self.V = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)
        self.U = nn.Parameter(torch.zeros(n_out, rank))  # broken
        self.V = nn.Parameter(torch.zeros(rank, n_in))  # broken
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return (x @ self.V.T) @ self.U.T + self.bias


def make_model():
    return nn.Sequential(
        LowRankLinear(64, 64),
        nn.Tanh(),
        LowRankLinear(64, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


def step(model, optimizer, batch):
    inputs, targets = batch
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor((digits.data - 8.0) / 8.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
