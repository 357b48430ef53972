# corpus: set=unseen mistake=none
"""Self-supervised features without negative pairs: a predictor and a stopped gradient."""

import torch
from torch import nn
from torch.nn import functional as F


class Siamese(nn.Module):
    def __init__(self, d_in=24, d=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(d_in, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(inplace=True),
            nn.Linear(64, d, bias=False),
            nn.BatchNorm1d(d, affine=False),
        )
        self.predictor = nn.Sequential(nn.Linear(d, 16), nn.ReLU(inplace=True), nn.Linear(16, d))

    def forward(self, a, b):
        za, zb = self.encoder(a), self.encoder(b)
        return self.predictor(za), self.predictor(zb), za.detach(), zb.detach()


def loss_of(pa, pb, za, zb):
    return -0.5 * (F.cosine_similarity(pa, zb).mean() + F.cosine_similarity(pb, za).mean())


def views(x, g):
    noise = 0.4 * torch.randn(2, *x.shape, generator=g)
    keep = (torch.rand(2, *x.shape, generator=g) > 0.1).float()
    return (x + noise[0]) * keep[0], (x + noise[1]) * keep[1]


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 24, generator=g)
    x = centres[torch.randint(12, (768,), generator=g)] + 0.3 * torch.randn(768, 24, generator=g)
    model = Siamese()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    losses = []
    for _ in range(6):
        for rows in torch.randperm(len(x)).split(64):
            loss = loss_of(*model(*views(x[rows], g)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        spread = F.normalize(model.encoder(x), dim=1).std(0).mean().item()
    print(f"spread of the features {spread:.3f}, of independent ones {32**-0.5:.3f}")
    return losses
