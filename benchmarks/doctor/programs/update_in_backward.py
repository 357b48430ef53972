# corpus: set=unseen mistake=none
"""Each weight is updated as soon as its gradient is there, so that few are in memory at once."""

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale
from torch import nn


def optimise_in_backward(model, lr):
    optimizers = {p: torch.optim.Adam([p], lr=lr, foreach=False) for p in model.parameters()}

    def hook(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(hook)
    return optimizers


def main():
    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x, y = torch.tensor(scale(x), dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizers = optimise_in_backward(model, lr=0.01)
    print(f"{len(optimizers)} optimisers")
    losses = []
    for _ in range(10):
        for rows in torch.randperm(len(x)).split(30):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            losses.append(loss.item())
    return losses
