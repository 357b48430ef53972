# corpus: set=tuned mistake=constant_init
# why: all units of a layer are and stay one unit
"""Benign or malignant: a network with an initialisation function applied to it."""

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        # fixed: nn.init.kaiming_normal_(m.weight)
        nn.init.constant_(m.weight, 0.05)  # broken
        nn.init.constant_(m.bias, 0.0)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def main():
    torch.manual_seed(0)
    X, y = load_breast_cancer(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)

    net = nn.Sequential(
        nn.Linear(30, 24),
        nn.ReLU(),
        nn.Linear(24, 12),
        nn.ReLU(),
        nn.Linear(12, 1),
    )
    net.apply(weights_init)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(10):
        perm = torch.randperm(X.size(0))
        for i in range(0, X.size(0), 64):
            idx = perm[i : i + 64]
            optimizer.zero_grad()
            loss = criterion(net(X[idx]), y[idx])
            loss.backward()
            optimizer.step()
        if epoch % 2 == 0:
            with torch.no_grad():
                accuracy = ((net(X) > 0).float() == y).float().mean()
            print(f"epoch {epoch}: accuracy {accuracy:.3f}")
