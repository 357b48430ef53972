# corpus: set=unseen mistake=none
"""Iris as it comes: centimetres between 0.1 and 8 need no scaling."""

import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class IrisNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 24)
        self.out = nn.Linear(24, 3)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


def train_epoch(model, loader, optimizer):
    model.train()
    seen = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        seen += loss.item() * len(x)
    return seen / len(loader.dataset)


def main():
    torch.manual_seed(0)
    x, y = load_iris(return_X_y=True)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    loader = DataLoader(data, batch_size=15, shuffle=True)
    model = IrisNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    losses = []
    for _ in range(20):
        losses.append(train_epoch(model, loader, optimizer))
        schedule.step()
    return losses
