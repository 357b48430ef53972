# corpus: set=tuned mistake=sigmoid_before_bce named=sigmoid_twice
# why: the loss applies a sigmoid itself
"""A model built from a dictionary of settings."""

from types import SimpleNamespace

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn

CONFIG = SimpleNamespace(
    hidden=[32, 16],
    activation="ReLU",
    # fixed: final_activation=None,
    final_activation="Sigmoid",  # broken
    loss="BCEWithLogitsLoss",
    lr=5e-3,
)


class MLP(nn.Module):
    def __init__(self, n_in, config):
        super().__init__()
        layers = []
        for width in config.hidden:
            layers += [nn.Linear(n_in, width), getattr(nn, config.activation)()]
            n_in = width
        layers.append(nn.Linear(n_in, 1))
        if config.final_activation:
            layers.append(getattr(nn, config.final_activation)())
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)[:, 0]


def practice():
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)

    model = MLP(x.shape[1], CONFIG)
    criterion = getattr(nn, CONFIG.loss)()
    optimizer = torch.optim.Adam(model.parameters(), lr=CONFIG.lr)

    def step(model, optimizer, batch):
        inputs, labels = batch
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
