# corpus: set=unseen mistake=learning_rate also=dying_relu
# why: momentum 0.9 at a rate of 1.5
"""Digits with a small convolutional network, options on the command line."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def train(args, model, x, y):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
    losses = []
    for epoch in range(args.epochs):
        for i, rows in enumerate(torch.randperm(len(x)).split(args.batch_size)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if i % args.log_interval == 0:
                print(f"epoch {epoch} batch {i} loss {loss.item():.4f}")
    return losses


def get_args(argv=None):
    parser = argparse.ArgumentParser(description="digits")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    # fixed: parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--lr", type=float, default=1.5)  # broken
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=10)
    return parser.parse_args(argv)


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    digits = load_digits()
    x = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(digits.target)
    return train(args, build(), x[:1500], y[:1500])
