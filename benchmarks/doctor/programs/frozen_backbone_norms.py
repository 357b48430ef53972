# corpus: set=unseen mistake=none
"""Transfer: the backbone is fixed with its batch norms, a new head is trained on top."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Transfer(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(64, classes))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()  # its running statistics stay at the values of the first data set
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def pretrained():
    """Random features with settled statistics stand in for a downloaded network."""
    net = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    net[1].momentum = None
    with torch.no_grad():
        for _ in range(10):
            net(torch.rand(100, 64))
    return net


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = Transfer(pretrained(), 10)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=0.01)
    losses = []
    for epoch in range(5):
        model.train()
        for rows in torch.randperm(1400).split(100):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(epoch, accuracy(model, x[1400:], y[1400:]))
    return losses
