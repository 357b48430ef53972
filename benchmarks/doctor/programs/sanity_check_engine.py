# corpus: set=unseen mistake=eval_left_on
# why: the check before the first epoch leaves evaluation mode on
"""Breast cancer with a small engine that validates once before the first epoch."""

from dataclasses import dataclass, field

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    hidden: int = 32
    dropout: float = 0.2
    lr: float = 0.05
    epochs: int = 5
    batch_size: int = 32
    seed: int = 0


@dataclass
class Engine:
    model: nn.Module
    config: Config
    losses: list = field(default_factory=list)

    def setup(self):
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.config.lr, momentum=0.9)
        self.criterion = nn.BCEWithLogitsLoss()
        self.model.train()

    def validate(self, loader):
        self.model.eval()
        right = total = 0
        with torch.no_grad():
            for x, y in loader:
                right += ((self.model(x) > 0) == (y > 0.5)).sum().item()
                total += len(y)
        return right / total

    def run_epoch(self, loader):
        # fixed: self.model.train()
        for x, y in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())

    def fit(self, train, valid):
        self.setup()
        print("sanity check", self.validate(valid))
        for epoch in range(self.config.epochs):
            self.run_epoch(train)
            print(epoch, self.validate(valid))


def main():
    config = Config()
    torch.manual_seed(config.seed)
    data = load_breast_cancer()
    x = torch.tensor(scale(data.data), dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    model = nn.Sequential(
        nn.Linear(30, config.hidden),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, 1),
    )
    engine = Engine(model, config)
    train = DataLoader(TensorDataset(x[:420], y[:420]), config.batch_size, shuffle=True)
    engine.fit(train, DataLoader(TensorDataset(x[420:], y[420:]), 64))
    return engine.losses
