# corpus: set=unseen mistake=none
"""A sparse autoencoder: of 64 features only the 6 largest speak for each sample."""

import torch
from torch import nn


class TopK(nn.Module):
    def __init__(self, d=16, features=64, k=6):
        super().__init__()
        self.k = k
        self.encoder = nn.Linear(d, features)
        self.decoder = nn.Linear(features, d, bias=False)
        self.centre = nn.Parameter(torch.zeros(d))
        nn.init.zeros_(self.encoder.bias)
        with torch.no_grad():
            self.decoder.weight.div_(self.decoder.weight.norm(dim=0))
            self.encoder.weight.copy_(self.decoder.weight.T)

    def forward(self, x):
        h = self.encoder(x - self.centre)
        best = h.topk(self.k, dim=1)
        code = torch.zeros_like(h).scatter(1, best.indices, best.values.relu())
        return self.decoder(code) + self.centre, code

    @torch.no_grad()
    def renormalise(self):
        self.decoder.weight.div_(self.decoder.weight.norm(dim=0))


def activations(n=2000, seed=0):
    """Sums of a few out of 40 directions."""
    g = torch.Generator().manual_seed(seed)
    directions = nn.functional.normalize(torch.randn(40, 16, generator=g), dim=1)
    used = (torch.rand(n, 40, generator=g) < 0.08) * torch.rand(n, 40, generator=g)
    return used @ directions * 2


def practice():
    torch.manual_seed(0)
    model = TopK()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step(model, optimizer, x):
        optimizer.zero_grad()
        rebuilt, _ = model(x)
        loss = (rebuilt - x).square().sum(1).mean()
        loss.backward()
        optimizer.step()
        model.renormalise()
        return loss.item()

    return step, model, optimizer, list(activations().split(100))
