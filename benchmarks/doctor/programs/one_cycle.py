# corpus: set=tuned mistake=none
"""One cycle of the learning rate, moved on after every batch."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn


def practice(total_steps=1000):
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(30, 32), nn.LeakyReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.95)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=total_steps)
    loss_fn = nn.BCEWithLogitsLoss()

    def step(model, optimizer, batch):
        inputs, labels = batch
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.item()

    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
