# truth: phase=backward operation=pow step=1 module=compress style=rnn kind=masked
"""Loudness is compressed with the power 0.3; padded time steps are 0 and masked afterwards."""

import torch
from torch import nn

torch.manual_seed(66)


class Compress(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (self.gain * x).pow(0.3)  # broken <- here
        # fixed: return (self.gain * x + 1e-6).pow(0.3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.compress = Compress()
        self.rnn = nn.RNN(1, 12, batch_first=True)
        self.head = nn.Linear(12, 1)

    def forward(self, x, valid):
        x = self.compress(x).masked_fill(~valid, 0)
        return self.head(self.rnn(x[..., None])[0].mean(1)).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    loudness = 0.1 + torch.rand(16, 6)
    lengths = torch.full((16,), 6)
    if step > 0:
        lengths = torch.randint(2, 7, (16,))
    valid = torch.arange(6) < lengths[:, None]
    loudness = loudness * valid
    loss = (model(loudness, valid) - loudness.mean(1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
