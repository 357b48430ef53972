# truth: phase=forward operation=logit step=1 module=inputs style=mlp
"""A second network combines the probabilities of other models; one model is fully certain."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(52)


class Logits(nn.Module):
    def forward(self, p):
        return torch.logit(p)  # broken <- here
        # fixed: return torch.logit(p, eps=1e-4)


class Combine(nn.Module):
    def __init__(self):
        super().__init__()
        self.inputs = Logits()
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, p):
        return self.layers(self.inputs(p)).squeeze(1)


model = Combine()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
losses = []
for step in range(60):
    y = torch.randint(2, (48,)).float()
    p = torch.sigmoid(2 * y[:, None] - 1 + torch.randn(48, 5))
    if step == 1:
        p[30, 2] = 1.0
    loss = F.binary_cross_entropy_with_logits(model(p), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
