# truth: phase=forward operation=addmm,linear,mm step=0 module=1.wide style=mlp kind=half
"""Features in large units in a float16 block: a sum of products exceeds 65504."""

import torch
from torch import nn

torch.manual_seed(30)


class HalfBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(64, 64)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.float16):
            return torch.tanh(self.wide(x).float() / 1000)  # <- here


model = nn.Sequential(nn.Linear(6, 64), HalfBlock(), nn.Linear(64, 1))
with torch.no_grad():
    model[1].wide.weight.mul_(100)
scale = 30_000.0  # broken
# fixed: scale = 10.0
optimizer = torch.optim.SGD(model[2].parameters(), lr=0.02)
losses = []
for step in range(60):
    x = torch.randn(64, 6)
    loss = (model(scale * x).squeeze(1) - x[:, 0].sign()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
