# corpus: set=unseen mistake=none
"""Softmax regression on digits by plain gradient descent, at a rate of 1."""

import torch
from sklearn.datasets import load_digits
from torch import nn


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    x = x - x[:1500].mean(0)
    y = torch.tensor(digits.target)
    model = nn.Linear(64, 10)
    # convex, so starting at 0 is as good as anything
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for epoch in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[:1500]), y[:1500])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if epoch % 20 == 0:
            with torch.no_grad():
                right = (model(x[1500:]).argmax(1) == y[1500:]).float().mean()
            print(f"{epoch:2d} {loss.item():.3f} {right.item():.3f}")
    return losses
