# corpus: set=unseen mistake=none
"""Regression on diabetes; the evaluation uses an average of the weights."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def split():
    x, y = load_diabetes(return_X_y=True)
    y = y.reshape(-1, 1)
    features, target = StandardScaler().fit(x[:340]), StandardScaler().fit(y[:340])
    x = torch.tensor(features.transform(x), dtype=torch.float32)
    y = torch.tensor(target.transform(y), dtype=torch.float32)
    return x[:340], y[:340], x[340:], y[340:]


def main():
    torch.manual_seed(0)
    x, y, x_valid, y_valid = split()
    model = nn.Sequential(
        nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)
    )
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)
    ema.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    criterion = nn.HuberLoss()
    model.train()
    valid_losses = []
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(34):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            ema.update_parameters(model)
        with torch.no_grad():
            valid_losses.append(criterion(ema(x_valid), y_valid).item())
        schedule.step(valid_losses[-1])
    return valid_losses
