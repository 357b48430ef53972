# corpus: set=tuned mistake=learning_rate also=dying_relu
# why: not divided by 256: a rate of 12.8
"""Large-batch training with the linear scaling rule (Goyal et al. 2017)."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


def parse(argv=()):
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-lr", type=float, default=0.1, help="rate for a batch of 256")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    return parser.parse_args(list(argv))


def evaluate(model, x, y):
    model.eval()
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    model.train()
    return accuracy


def main():
    args = parse()
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model.append(nn.Linear(64, 10))
    # fixed: lr = args.base_lr * args.batch_size / 256
    lr = args.base_lr * args.batch_size  # broken
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for epoch in range(args.epochs):
        for rows in torch.randperm(len(x)).split(args.batch_size):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {evaluate(model, x, y):.3f}")
