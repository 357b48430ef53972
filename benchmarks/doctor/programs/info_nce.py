# corpus: set=unseen mistake=softmax_before_cross_entropy
# why: cross_entropy takes the softmax of the softmax
"""Contrastive learning: two noisy views of the same signal should find one another."""

import torch
from torch import nn
from torch.nn import functional as F


def two_views(n, g, mixing):
    source = torch.randn(n, 5, generator=g)
    clean = torch.tanh(source @ mixing)
    noise = 0.3 * torch.randn(2, n, mixing.shape[1], generator=g)
    return clean + noise[0], clean.flip(1) + noise[1]


class Encoder(nn.Module):
    def __init__(self, d_in=20, d_out=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_in, 64), nn.ReLU(), nn.Linear(64, d_out))

    def forward(self, x):
        return F.normalize(self.layers(x), dim=1)


def nt_xent(a, b, temperature=0.1):
    similarity = a @ b.T / temperature
    # fixed: match = similarity
    match = similarity.softmax(dim=1)  # broken
    target = torch.arange(len(a))
    return F.cross_entropy(match, target)


def practice():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 20, generator=g)
    model = nn.ModuleDict({"left": Encoder(), "right": Encoder()})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batches = [two_views(64, g, mixing) for _ in range(20)]

    def step(model, optimizer, batch):
        left, right = batch
        loss = nt_xent(model["left"](left), model["right"](right))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model, optimizer, batches
