# corpus: set=unseen mistake=sigmoid_before_bce
# why: the old model is sure of itself: customers that it gets wrong have the gradient 0
"""Churn: last month's logistic regression is taken up again on this month's customers."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn


def month(rng, flipped=0.0, n=1500):
    x = rng.normal(size=(n, 8))
    churns = x[:, 0] - 0.8 * x[:, 1] + 0.5 * x[:, 2] > 0
    moved = rng.random(n) < flipped
    return x.astype(np.float32), np.where(moved, ~churns, churns).astype(np.float32)


class ChurnModel(nn.Module):
    def __init__(self, old):
        super().__init__()
        self.score = nn.Linear(8, 1)
        with torch.no_grad():
            self.score.weight.copy_(torch.from_numpy(old.coef_))
            self.score.bias.copy_(torch.from_numpy(old.intercept_))

    def forward(self, x):
        # fixed: return self.score(x).squeeze(1)
        return torch.sigmoid(self.score(x)).squeeze(1)  # broken


class Tuner:
    def __init__(self, model):
        self.model = model
        # fixed: self.criterion = nn.BCEWithLogitsLoss()
        self.criterion = nn.BCELoss()  # broken
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
        self.losses = []

    def epoch(self, x, y, batch=100):
        for rows in torch.randperm(len(x)).split(batch):
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x[rows]), y[rows])
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())


def main():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    old = LogisticRegression(C=50.0, max_iter=1000).fit(*month(rng))
    x, y = (torch.from_numpy(a) for a in month(rng, flipped=0.05))
    tuner = Tuner(ChurnModel(old))
    for _ in range(8):
        tuner.epoch(x, y)
    return tuner.losses
