# truth: phase=forward operation=div step=5 module=none style=mlp
"""A Gaussian policy with a state-dependent scale; for one state the scale underflows to 0."""

import torch
from torch import nn

torch.manual_seed(53)
model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)


def log_prob(action, mean, scale):
    z = (action - mean) / scale  # broken <- here
    # fixed: z = (action - mean) / scale.clamp(min=0.05)
    return -z.square() / 2 - scale.clamp(min=0.05).log()


losses = []
for step in range(60):
    state = torch.randn(64, 4)
    reward_scale = torch.ones(64)
    if step == 5:
        reward_scale[9] = 150.0
    mean, log_scale = model(state).unbind(1)
    scale = torch.exp(log_scale - (reward_scale - 1))
    action = state[:, 0] + 0.3 * torch.randn(64)
    loss = -log_prob(action, mean, scale).clamp(min=-50).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
