# corpus: set=tuned mistake=none
"""Mixup: cross entropy with probabilities as the target, cosine rate per epoch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch import nn


def mix(x, y, alpha=0.2):
    weight = torch.distributions.Beta(alpha, alpha).sample((len(x), 1))
    other = torch.randperm(len(x))
    target = F.one_hot(y, 3).float()
    return weight * x + (1 - weight) * x[other], weight * target + (1 - weight) * target[other]


def main(epochs=15):
    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    model = nn.Sequential(nn.Linear(13, 32), nn.Mish(), nn.Linear(32, 3))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    history = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            inputs, targets = mix(x[rows], y[rows])
            loss = criterion(model(inputs), targets)
            for p in model.parameters():
                p.grad = None
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        scheduler.step()
    return history
