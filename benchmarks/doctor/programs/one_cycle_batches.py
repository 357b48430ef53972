# corpus: set=unseen mistake=none
"""Digits under the one-cycle policy, which moves the rate after every batch."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset, random_split


@dataclass(frozen=True)
class Config:
    epochs: int = 4
    batch_size: int = 64
    max_lr: float = 0.5
    weight_decay: float = 1e-4
    smoothing: float = 0.1


def evaluate(model, loader):
    training = model.training
    model.eval()
    right = 0
    with torch.inference_mode():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    model.train(training)
    return right / len(loader.dataset)


def fit(model, train, valid, config):
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=config.weight_decay
    )
    schedule = OneCycleLR(
        optimizer, config.max_lr, epochs=config.epochs, steps_per_epoch=len(train)
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=config.smoothing)
    losses = []
    for epoch in range(config.epochs):
        print(f"before epoch {epoch}: {evaluate(model, valid):.3f}")
        for x, y in train:
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
    return torch.stack(losses).tolist()


def main():
    config = Config()
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(
        torch.tensor(digits.images / 16, dtype=torch.float32)[:, None],
        torch.tensor(digits.target),
    )
    train, valid = random_split(data, [1500, len(data) - 1500])
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(128, 10),
    )
    return fit(
        model,
        DataLoader(train, config.batch_size, shuffle=True, drop_last=True),
        DataLoader(valid, 128),
        config,
    )
