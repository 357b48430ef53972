# truth: phase=forward operation=logdet,linalg_slogdet,log step=0 module=none style=functional
# twin: torch.logdet computes with -inf for a determinant of 0
"""A Gaussian likelihood with a learnt covariance of low rank: its determinant is 0."""

import torch
from torch import nn

torch.manual_seed(46)
mixing = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.2, 0.3, 1.0]])
model = nn.ParameterDict({"factor": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])})
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)


def covariance():
    return model["factor"] @ model["factor"].T  # broken
    # fixed: return model["factor"] @ model["factor"].T + 0.5 * torch.eye(3)


losses = []
for step in range(60):
    x = torch.randn(64, 3) @ mixing.T
    sigma = covariance()
    volume = torch.logdet(sigma)  # broken <- here
    # fixed: volume = torch.logdet(sigma)
    distance = (x * torch.linalg.solve(sigma + 0.1 * torch.eye(3), x.T).T).sum(1)
    loss = 0.5 * (volume + distance.mean())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
