# corpus: set=unseen mistake=none
"""A vector-quantised autoencoder of digits; the gradient passes straight through the choice."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F


class Quantiser(nn.Module):
    def __init__(self, codes=32, dim=4, commitment=0.25):
        super().__init__()
        self.codes = nn.Embedding(codes, dim)
        nn.init.uniform_(self.codes.weight, -0.5, 0.5)
        self.commitment = commitment

    def forward(self, z):
        with torch.no_grad():
            nearest = torch.cdist(z, self.codes.weight.expand(len(z), -1, -1)).argmin(-1)
        q = self.codes(nearest)
        loss = F.mse_loss(q, z.detach()) + self.commitment * F.mse_loss(z, q.detach())
        return z + (q - z).detach(), loss


class VQ(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.quantise = Quantiser()
        self.decoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        q, loss = self.quantise(self.encoder(x).view(len(x), 8, 4))
        return self.decoder(q.flatten(1)), loss


def practice():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    model = VQ()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step(model, optimizer, images):
        optimizer.zero_grad()
        decoded, code_loss = model(images)
        loss = F.mse_loss(decoded, images) + code_loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model, optimizer, list(x.split(64))
