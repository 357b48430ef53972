# corpus: set=tuned mistake=none
"""L-BFGS, whose step calls the closure as often as it likes."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn


def step(model, optimizer, batch):
    x, y = batch

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        return loss

    return optimizer.step(closure).item()


def practice():
    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x / x.std(0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).unsqueeze(1)
    model = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    return step, model, optimizer, [(x, y)] * 10
