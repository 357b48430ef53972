# corpus: set=tuned mistake=summed_loss also=dying_relu,learning_rate
# why: a sum over 128 samples, with the rate of a mean
"""A conv net for digits; the criterion is made once, in the constructor."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Learner:
    def __init__(self, net, lr=0.05, momentum=0.9):
        self.net = net
        self.opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
        # fixed: self.criterion = nn.CrossEntropyLoss(reduction="mean")
        self.criterion = nn.CrossEntropyLoss(reduction="sum")  # broken
        self.seen = 0
        self.total = 0.0

    def one_batch(self, xb, yb):
        self.opt.zero_grad()
        loss = self.criterion(self.net(xb), yb)
        loss.backward()
        self.opt.step()
        self.total += loss.item()
        self.seen += len(xb)

    def fit(self, x, y, epochs, bs):
        for epoch in range(epochs):
            self.seen, self.total = 0, 0.0
            for rows in torch.randperm(len(x)).split(bs):
                self.one_batch(x[rows], y[rows])
            print(f"epoch {epoch}: {self.total / self.seen:.4f}")


def digit_net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target)
    Learner(digit_net()).fit(x, y, epochs=6, bs=128)
