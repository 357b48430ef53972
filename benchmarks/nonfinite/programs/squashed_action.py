# truth: phase=forward operation=atanh step=4 module=policy style=mlp
"""Cloning a squashed Gaussian policy: an action of the expert is at the limit of its range."""

import torch
from torch import nn

torch.manual_seed(36)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
        self.log_std = nn.Parameter(torch.zeros(2))

    def forward(self, state, action):
        raw = torch.atanh(action)  # broken <- here
        # fixed: raw = torch.atanh(action.clamp(-0.999, 0.999))
        z = (raw - self.mean(state)) / self.log_std.exp()
        return -(z.square() / 2 + self.log_std).sum(1)


model = nn.ModuleDict({"policy": Policy()})
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    state = torch.randn(40, 6)
    action = torch.tanh(state[:, :2] + 0.1 * torch.randn(40, 2))
    if step == 4:
        action[12, 1] = -1.0  # full brake
    loss = -model["policy"](state, action).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
