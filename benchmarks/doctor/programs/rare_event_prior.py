# corpus: set=unseen mistake=dying_relu
# why: the bias of the prior, -4.6, goes to the hidden layers as well
"""Detecting a rare event in sensor readings; the classifier starts at the event's frequency."""

import math

import torch
from torch import nn


def readings(n=3000, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 12, generator=g)
    score = 1.5 * x[:, 0] + x[:, 1] * x[:, 2] - x[:, 3]
    y = (score > score.quantile(0.97)).float()
    return x, y


class Detector(nn.Module):
    def __init__(self, prior=0.01):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.classifier = nn.Linear(32, 1)
        # RetinaNet's initialisation: rare classes should not flood the first steps
        bias = -math.log((1 - prior) / prior)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_uniform_(m.weight, a=math.sqrt(5))
                # fixed: nn.init.zeros_(m.bias)
                # fixed: nn.init.constant_(self.classifier.bias, bias)
                nn.init.constant_(m.bias, bias)  # broken

    def forward(self, x):
        return self.classifier(self.body(x)).squeeze(-1)


def main():
    torch.manual_seed(0)
    x, y = readings()
    model = Detector()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))
    history = []
    for epoch in range(12):
        total = 0.0
        for rows in torch.randperm(len(x)).split(200):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        history.append(total / len(x))
        with torch.no_grad():
            caught = ((model(x) > 0) & (y > 0)).sum() / y.sum()
        print(f"{epoch:2d} {history[-1]:.4f} caught {caught:.2%}")
    return history
