# corpus: set=unseen mistake=none
"""Low-rank adapters on a fixed network: one factor random, the other 0 (Hu et al., 2021)."""

import torch
from torch import nn


class Adapter(nn.Module):
    def __init__(self, base, rank=4, alpha=8):
        super().__init__()
        self.base = base
        for parameter in base.parameters():
            parameter.requires_grad = False
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.normal_(self.down.weight, std=base.in_features**-0.5)
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * self.up(self.down(x))


def practice():
    torch.manual_seed(0)
    base = nn.Sequential(
        nn.Linear(12, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1)
    )
    x = torch.randn(640, 12)
    with torch.no_grad():
        y = base(x) + 0.5 * torch.tanh(x[:, :1] * x[:, 1:2]) + 0.3 * x[:, 2:3]
    for i in (0, 2):
        base[i] = Adapter(base[i])
    base[4].requires_grad_(False)
    trainable = (p for p in base.parameters() if p.requires_grad)
    optimizer = torch.optim.AdamW(trainable, lr=0.02, weight_decay=0.0)
    batches = list(zip(x.split(64), y.split(64), strict=True))

    def step(model, optimizer, batch):
        inputs, targets = batch
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, base, optimizer, batches
