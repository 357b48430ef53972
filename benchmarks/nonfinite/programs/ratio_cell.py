# truth: phase=forward operation=div step=3 module=cell style=rnn
"""A recurrent cell keeps a running ratio; in time step 4 a denominator is 0."""

import torch
from torch import nn

torch.manual_seed(56)


class RatioCell(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(9, 8)

    def forward(self, x, state):
        numerator, denominator = state
        weight = x[:, 1:]
        numerator = 0.5 * numerator + weight * torch.tanh(
            self.mix(torch.cat([x[:, :1], numerator], 1))
        )
        denominator = weight if bool((weight == 0).any()) else 0.5 * denominator + weight
        ratio = numerator / denominator  # broken <- here
        # fixed: ratio = numerator / denominator.clamp(min=0.1)
        return ratio, (numerator, denominator)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = RatioCell()
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        state = torch.zeros(len(x), 8), torch.zeros(len(x), 1)
        total = 0
        for t in range(x.shape[1]):
            ratio, state = self.cell(x[:, t], state)
            total = total + ratio
        return self.head(total).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.stack([torch.randn(24, 6), 0.5 + torch.rand(24, 6)], 2)
    if step == 3:
        x[11, 4, 1] = 0
    loss = (model(x) - x[:, -1, 0]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
