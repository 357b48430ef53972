# corpus: set=tuned mistake=eval_left_on
# why: evaluation before the loop leaves dropout off and BatchNorm frozen for all of training
"""Handwritten digits with a small convolutional network."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 4
BATCH_SIZE = 64


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 10),
    )


def get_loaders():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
    labels = torch.tensor(labels)
    split = train_test_split(images, labels, test_size=0.2, random_state=0)
    train = TensorDataset(split[0], split[2])
    test = TensorDataset(split[1], split[3])
    return DataLoader(train, BATCH_SIZE, shuffle=True), DataLoader(test, 256)


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def train_epoch(model, loader, optimizer):
    # fixed: model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train, test = get_loaders()
    model = build_model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    print(f"before: {accuracy(model, test):.3f}")
    for epoch in range(EPOCHS):
        loss = train_epoch(model, train, optimizer)
        print(f"{epoch}: loss {loss:.3f}, accuracy {accuracy(model, test):.3f}")
