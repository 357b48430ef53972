# corpus: set=tuned mistake=broadcast_target
# why: [N, 1] minus [N] is [N, N]
"""Disease progression after a year (diabetes), with a small network."""

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler


class Regressor(nn.Module):
    def __init__(self, n_features, hidden=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, x):
        return self.net(x)


def load():
    x, y = load_diabetes(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    y = (y - y.mean()) / y.std()
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def rmse(prediction, truth):
    # fixed: return torch.sqrt(((prediction.squeeze(1) - truth) ** 2).mean())
    return torch.sqrt(((prediction - truth) ** 2).mean())  # broken


def step(model, optimizer, batch):
    x, y = batch
    optimizer.zero_grad()
    loss = rmse(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    x, y = load()
    model = Regressor(x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.randperm(len(x))
    batches = [(x[rows], y[rows]) for rows in order.split(32)]
    return step, model, optimizer, batches
