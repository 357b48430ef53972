# truth: phase=forward operation=std step=3 module=normalise style=mlp
"""Diabetes progression; a layer standardises the batch, and the last batch of an epoch is short."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(6)
x, y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
x, y = x[:385] * 20, (y[:385] - y.mean()) / y.std()


class Normalise(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) / (x.std(0) + 1e-5)  # broken <- here
        # fixed: return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-3).sqrt()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(10, 32)
        self.normalise = Normalise()
        self.last = nn.Linear(32, 1)

    def forward(self, x):
        return self.last(torch.relu(self.normalise(self.first(x)))).squeeze(1)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
batches = torch.randperm(385).split(128)
losses = []
for step in range(60):
    rows = batches[step % len(batches)]
    loss = (model(x[rows]) - y[rows]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
