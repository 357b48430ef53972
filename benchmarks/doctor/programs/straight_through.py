# corpus: set=tuned mistake=none
"""A vector-quantised autoencoder: gradients pass the quantiser straight through."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class Quantiser(nn.Module):
    def __init__(self, n_codes=32, dim=8, beta=0.25):
        super().__init__()
        self.codebook = nn.Embedding(n_codes, dim)
        nn.init.uniform_(self.codebook.weight, -0.5, 0.5)
        self.beta = beta

    def forward(self, z):
        code = torch.cdist(z, self.codebook.weight).argmin(dim=-1)
        q = self.codebook(code)
        loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(z, q.detach())
        return z + (q - z).detach(), loss


class VQVAE(nn.Module):
    def __init__(self, groups=4, dim=8):
        super().__init__()
        self.groups, self.dim = groups, dim
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, groups * dim))
        self.quantiser = Quantiser(dim=dim)
        self.decoder = nn.Sequential(nn.Linear(groups * dim, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        z = self.encoder(x).view(len(x), self.groups, self.dim)
        q, loss = self.quantiser(z)
        return self.decoder(q.flatten(1)), loss


def step(model, optimizer, x):
    optimizer.zero_grad()
    reconstruction, vq_loss = model(x)
    loss = F.mse_loss(reconstruction, x) + vq_loss
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    model = VQVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return step, model, optimizer, list(x[torch.randperm(len(x))].split(64))
