# truth: phase=forward operation=exp step=5 module=cell.gate style=rnn kind=masked
"""A gated recurrent cell with a sigmoid by hand: forward it is right, even where exp overflows."""

import torch
from torch import nn

torch.manual_seed(33)


class Gate(nn.Module):
    def forward(self, z):
        return 1 / (1 + torch.exp(-z))  # broken <- here
        # fixed: return torch.sigmoid(z)


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.candidate = nn.Linear(1 + 12, 12)
        self.keep = nn.Linear(1 + 12, 12)
        self.gate = Gate()

    def forward(self, x, h):
        both = torch.cat([x, h], 1)
        g = self.gate(self.keep(both))
        return g * h + (1 - g) * torch.tanh(self.candidate(both))


model = nn.ModuleDict({"cell": Cell(), "head": nn.Linear(12, 1)})
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(16, 5, 1)
    target = x.sign().mean((1, 2))
    if step == 5:
        x[7, 2] = 3000.0  # a spark
    h = torch.zeros(16, 12)
    for t in range(5):
        h = model["cell"](x[:, t], h)
    loss = (model["head"](h).squeeze(1) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
