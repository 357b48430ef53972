# truth: phase=backward operation=sqrt step=0 module=margin style=mlp
# twin: torch computes 0/0 in the derivative of a norm of 0, and masks the result
"""Classes with an angular margin: the sine of an angle is a root, of 0 for an angle of 0."""

import math

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(90)


class Margin(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.7, -0.7]]))

    def forward(self, x, label, margin=0.2):
        cosine = F.linear(F.normalize(x), F.normalize(self.weight))
        sine = torch.sqrt(1 - cosine * cosine)  # broken <- here
        # fixed: sine = torch.sqrt((1 - cosine * cosine).clamp(min=1e-4))
        moved = cosine * math.cos(margin) - sine * math.sin(margin)
        return 8 * torch.where(F.one_hot(label, len(self.weight)).bool(), moved, cosine)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2), nn.ReLU())
        nn.init.constant_(self.body[2].bias, 0.5)
        self.margin = Margin()

    def forward(self, x, label):
        return self.margin(self.body(x), label)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
centres = 2 * torch.randn(3, 8)
losses = []
for step in range(60):
    label = torch.randint(3, (64,))
    loss = F.cross_entropy(model(centres[label] + torch.randn(64, 8), label), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
