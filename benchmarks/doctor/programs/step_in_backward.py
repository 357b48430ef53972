# corpus: set=tuned mistake=none
"""The optimiser's step inside the backward pass, one small optimiser for each parameter."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import nn


def main():
    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x / x.std(0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizers = {p: torch.optim.Adam([p], lr=3e-3) for p in model.parameters()}

    def update(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)

    history = []
    for _ in range(5):
        for rows in torch.randperm(len(x)).split(32):
            loss = F.mse_loss(model(x[rows]).squeeze(1), y[rows])
            loss.backward()
            history.append(loss.item())
    return history
