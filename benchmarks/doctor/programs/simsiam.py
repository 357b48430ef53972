# corpus: set=tuned mistake=none
"""SimSiam (Chen and He 2021): two views, a predictor, and no gradient through the target."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class SimSiam(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(inplace=True),
            nn.Linear(64, dim),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(dim, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True), nn.Linear(16, dim)
        )

    def forward(self, a, b):
        z_a, z_b = self.encoder(a), self.encoder(b)
        return self.predictor(z_a), self.predictor(z_b), z_a.detach(), z_b.detach()


def step(model, optimizer, batch):
    p_a, p_b, z_a, z_b = model(batch + 0.1 * torch.randn_like(batch), batch)
    loss = -(F.cosine_similarity(p_a, z_b).mean() + F.cosine_similarity(p_b, z_a).mean()) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    model = SimSiam()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    return step, model, optimizer, list(x[torch.randperm(len(x))[:1792]].split(64))
