# corpus: set=unseen mistake=none
"""Fine-tuning from the top down: each epoch sets one more layer free (Howard and Ruder, 2018)."""

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.bottom = nn.Linear(13, 32)
        self.middle = nn.Linear(32, 32)
        self.top = nn.Linear(32, 3)

    def forward(self, x):
        return self.top(torch.tanh(self.middle(torch.tanh(self.bottom(x)))))

    def layers(self):
        return [self.top, self.middle, self.bottom]


def pretrain(model, x):
    """Keep the directions of the data: a rotation of its principal axes."""
    with torch.no_grad():
        nn.init.orthogonal_(model.middle.weight)
        axes = torch.linalg.svd(x, full_matrices=False).Vh
        model.bottom.weight.copy_(torch.randn(32, 13) @ axes / 13**0.5)


class Unfreezer:
    def __init__(self, layers):
        self.layers = layers
        for layer in layers[1:]:
            layer.requires_grad_(False)

    def on_epoch_start(self, epoch):
        for layer in self.layers[: epoch + 1]:
            layer.requires_grad_(True)


def main():
    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x, y = torch.tensor(scale(x), dtype=torch.float32), torch.tensor(y)
    model = Classifier()
    pretrain(model, x)
    groups = [
        {"params": layer.parameters(), "lr": 0.05 / 2.6**depth}
        for depth, layer in enumerate(model.layers())
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    unfreezer = Unfreezer(model.layers())
    losses = []
    for epoch in range(6):
        unfreezer.on_epoch_start(epoch)
        for rows in torch.randperm(len(x)).split(16):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
