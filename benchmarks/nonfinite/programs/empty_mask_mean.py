# truth: phase=forward operation=div step=6 module=none style=rnn
"""Next values of a signal; the loss is a mean over the measured positions only."""

import torch
from torch import nn

torch.manual_seed(1)
LENGTH = 10


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).squeeze(-1)


def masked_mean(error, mask):
    total = (error * mask).sum()
    return total / mask.sum()  # broken <- here
    # fixed: return total / mask.sum().clamp(min=1)


def batch(step):
    phase = 6.28 * torch.rand(16, 1)
    wave = torch.sin(phase + 0.4 * torch.arange(LENGTH + 1.0))
    mask = (torch.rand(16, LENGTH) < 0.7).float()
    if step == 6:
        mask[:] = 0  # the sensor was off
    return wave[:, :-1, None], wave[:, 1:], mask


model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x, target, mask = batch(step)
    loss = masked_mean((model(x) - target).square(), mask)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
