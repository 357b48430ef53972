# corpus: set=tuned mistake=frozen_layer
# why: a misspelt attribute: the convolutions are never thawed
"""Trains the head alone for a few steps, then the whole network."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

WARM_UP = 3


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.head = nn.Linear(32, 10)

    def features(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.conv2(x))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


def set_trainable(layers, flag):
    for layer in layers:
        for p in layer.parameters():
            if flag:
                # fixed: p.requires_grad = True
                p.require_grad = True  # broken
            else:
                p.requires_grad = False


def main(steps=80):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target)

    net = Classifier()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    set_trainable([net.conv1, net.conv2], False)
    for step in range(steps):
        if step == WARM_UP:
            set_trainable([net.conv1, net.conv2], True)
        rows = torch.randint(len(x), (64,))
        loss = F.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"{step:4d} {loss.item():.3f}")
