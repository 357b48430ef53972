# corpus: set=tuned mistake=in_place_change
# why: the array shares z's memory, which the backward pass reads after it was standardised
"""A polynomial activation with a custom backward pass, and multiplicative noise after it."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Quadratic(torch.autograd.Function):
    """x + x^2 / 4, whose derivative is 1 + x / 2."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return x + x * x / 4

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 + ctx.x / 2)


class Activation(nn.Module):
    def forward(self, z):
        out = Quadratic.apply(z)
        self.update_statistics(z)
        return out

    def update_statistics(self, z):
        # fixed: values = z.detach().numpy().copy()
        values = z.detach().numpy()  # broken
        values -= values.mean(axis=0)
        values /= values.std(axis=0) + 1e-5
        self.extreme = float(abs(values).max())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64, 48), Activation(), nn.Linear(48, 48), Activation(), nn.Linear(48, 10)
        )

    def forward(self, x):
        return self.net(x)


def step(model, optimizer, batch):
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
