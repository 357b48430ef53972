# truth: phase=forward operation=log step=0 module=sample style=functional kind=half
"""Choices with Gumbel noise from a 16-bit generator, which returns exactly 0 and 1."""

import torch
from torch import nn

torch.manual_seed(15)


class GumbelChoice(nn.Module):
    def forward(self, logits, generator):
        u = torch.randint(256, logits.shape, generator=generator).half() / 255  # broken
        # fixed: u = (torch.randint(256, logits.shape, generator=generator).half() + 0.5) / 256
        noise = -torch.log(-torch.log(u))  # <- here
        return ((logits + noise) / 0.7).softmax(-1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.logits = nn.Linear(4, 8)
        self.sample = GumbelChoice()
        self.values = nn.Linear(8, 1)

    def forward(self, x, generator):
        return self.values(self.sample(self.logits(x), generator)).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
generator = torch.Generator().manual_seed(0)
losses = []
for step in range(60):
    x = torch.randn(64, 4)
    loss = (model(x, generator) - x[:, 0].sign()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
