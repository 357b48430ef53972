# truth: phase=update operation=div step=8 module=none style=cnn
"""An optimiser of normalised gradients; in one batch all images are empty, and a gradient is 0."""

import torch
from torch import nn
from torch.nn import functional as F


class NormalisedSGD(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                direction = p.grad / p.grad.norm()  # broken <- here
                # fixed: direction = p.grad / (p.grad.norm() + 1e-8)
                p -= group["lr"] * direction


torch.manual_seed(26)
model = nn.Sequential(nn.Conv2d(1, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
optimizer = NormalisedSGD(model.parameters(), lr=0.03)
losses = []
for step in range(60):
    images = torch.randn(32, 1, 6, 6)
    label = (images.mean((1, 2, 3)) > 0).long()
    if step == 8:
        images[:] = 0
    loss = F.cross_entropy(model(images), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
