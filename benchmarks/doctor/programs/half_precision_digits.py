# corpus: set=unseen mistake=clip_before_unscale
# why: the clipped tensor is 65,536 times the gradient
"""Digits in half precision with a loss scaler."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class MixedPrecision:
    """All that mixed precision needs, so that the loop does not have to know."""

    def __init__(self, optimizer, max_norm, enabled=True):
        self.optimizer = optimizer
        self.max_norm = max_norm
        self.scaler = torch.amp.GradScaler("cpu", enabled=enabled)

    def forward(self):
        return torch.autocast("cpu", dtype=torch.float16, enabled=self.scaler.is_enabled())

    def update(self, loss):
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler.scale(loss).backward()
        # fixed: self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    precision = MixedPrecision(optimizer, max_norm=1.0)
    losses = []
    for _ in range(4):
        for rows in torch.randperm(len(x)).split(64):
            with precision.forward():
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            precision.update(loss)
            losses.append(loss.item())
    return losses
