# corpus: set=tuned mistake=clip_after_step
# why: the step has already been made
"""A GRU predicts the next value of noisy sine waves."""

import math

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, x):
        states, _ = self.gru(x)
        return self.readout(states)


def waves(n, length=25):
    t = torch.arange(length + 1) * 0.4
    phase = 2 * math.pi * torch.rand(n, 1)
    y = torch.sin(t + phase) + 0.05 * torch.randn(n, length + 1)
    return y.unsqueeze(-1)


def train_step(model, optimizer, wave):
    prediction = model(wave[:, :-1])
    loss = nn.functional.mse_loss(prediction, wave[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    # fixed: clip_grad_norm_(model.parameters(), max_norm=0.05)
    # fixed: optimizer.step()
    optimizer.step()  # broken
    clip_grad_norm_(model.parameters(), max_norm=0.05)  # broken
    return loss.item()


def practice():
    torch.manual_seed(3)
    model = Forecaster()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return train_step, model, optimizer, [waves(32) for _ in range(20)]
