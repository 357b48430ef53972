# truth: phase=forward operation=sum step=2 module=energy style=functional kind=half
"""The energy of a signal in float16: each square is a float16 number, and their sum is not."""

import torch
from torch import nn

torch.manual_seed(68)


class Energy(nn.Module):
    def forward(self, x):
        return x.square().sum(1)  # broken <- here
        # fixed: return x.float().square().sum(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = Energy()
        self.slope = nn.Parameter(torch.tensor(0.2))
        self.level = nn.Parameter(torch.tensor(0.0))

    def forward(self, signal):
        return self.slope * torch.log1p(self.energy(signal).float()) + self.level


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
losses = []
for step in range(60):
    signal = torch.randn(32, 64)
    if step == 2:
        signal[12] = 50 + signal[12]
    target = torch.log1p(signal.square().sum(1)) / 2 + 0.3
    loss = (model(signal.half()) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
