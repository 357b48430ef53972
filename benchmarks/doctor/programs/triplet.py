# corpus: set=tuned mistake=none
"""Digits in the plane, by triplets: the anchor near its class, far from another."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Embed(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return nn.functional.normalize(self.net(x), dim=1)


def triplets(x, y, n=64):
    anchor = torch.randint(len(x), (n,))
    same = y[anchor][:, None] == y[None]
    positive = torch.multinomial(same.float(), 1).squeeze(1)
    negative = torch.multinomial((~same).float(), 1).squeeze(1)
    return x[anchor], x[positive], x[negative]


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    criterion = nn.TripletMarginLoss(margin=0.5)

    def step(model, optimizer, batch):
        optimizer.zero_grad()
        loss = criterion(*(model(view) for view in batch))
        loss.backward()
        optimizer.step()
        return loss.item()

    model = Embed()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return step, model, optimizer, [triplets(x, y) for _ in range(30)]
