# truth: phase=forward operation=log step=3 module=none style=mlp kind=half
"""A log-loss of bfloat16 probabilities: a probability above 0.998 is rounded to 1."""

import torch
from torch import nn

torch.manual_seed(78)
model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def log_loss(score, y):
    p = score.sigmoid()
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()  # broken <- here
    # fixed: return nn.functional.binary_cross_entropy_with_logits(score.float(), y)


losses = []
for step in range(60):
    x = torch.randn(64, 6)
    y = (x[:, 0] + 0.5 * torch.randn(64) > 0).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = model(x).squeeze(1)
    if step == 3:
        score = score + (7 * x[:, 0].abs()).bfloat16()  # a bonus for frequent customers
    loss = log_loss(score, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
