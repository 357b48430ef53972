# corpus: set=tuned mistake=none
"""Transfer: a backbone that knows digits 0-4 is frozen, a new head learns 5-9."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 16, 64)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return F.relu(self.fc(x.flatten(1)))


class Classifier(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(64, 5)

    def forward(self, x):
        return self.head(self.backbone(x))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()  # its running statistics are frozen too
        return self


def pretrain(x, y):
    backbone, head = Backbone(), nn.Linear(64, 5)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=3e-3)
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(head(backbone(x[rows])), y[rows]).backward()
        optimizer.step()
    return backbone


def step(model, optimizer, batch):
    x, y = batch
    model.train()
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(digits.target)
    backbone = pretrain(x[y < 5], y[y < 5])
    for p in backbone.parameters():
        p.requires_grad_(False)
    model = Classifier(backbone)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=3e-3)
    x, y = x[y >= 5], y[y >= 5] - 5
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
