# corpus: set=tuned mistake=none
"""Training with an exponential moving average of the weights, which the evaluation uses."""

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def main():
    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    model = nn.Sequential(nn.Linear(13, 32), nn.ELU(), nn.Linear(32, 3))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    history = []
    for epoch in range(12):
        model.train()
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad(set_to_none=True)
            criterion(model(x[rows]), y[rows]).backward()
            optimizer.step()
            averaged.update_parameters(model)
        averaged.eval()
        with torch.inference_mode():
            history.append(criterion(averaged(x), y).item())
        print(f"{epoch}: {history[-1]:.4f}")
    return history
