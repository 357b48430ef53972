# truth: phase=forward operation=exp step=6 module=attend style=rnn kind=half
"""Pooling over time with weights exp(score) in float16: exp(12) is infinite."""

import torch
from torch import nn

torch.manual_seed(80)


class Attend(nn.Module):
    def forward(self, score, h):
        # fixed: score = score - score.amax(1, keepdim=True)
        weight = torch.exp(score.half())  # broken <- here
        # fixed: weight = torch.exp(score.half())
        weight = weight.float()
        return (weight[..., None] * h).sum(1) / weight.sum(1, keepdim=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 12, batch_first=True)
        self.attend = Attend()
        self.head = nn.Linear(12, 1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.head(self.attend(x[..., 1], h)).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(24, 5, 2)
    y = (x[..., 1].softmax(1) * x[..., 0]).sum(1)
    if step == 6:
        x[4, 2, 1] = 12.5
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
