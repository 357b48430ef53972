# corpus: set=tuned mistake=data_in_path also=detach_in_path
# why: the encoder gets no gradient from the reconstruction
"""A variational autoencoder of handwritten digits."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class VAE(nn.Module):
    def __init__(self, n_pixels=64, hidden=64, latent=6):
        super().__init__()
        self.enc = nn.Linear(n_pixels, hidden)
        self.mu = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.dec1 = nn.Linear(latent, hidden)
        self.dec2 = nn.Linear(hidden, n_pixels)

    def encode(self, x):
        h = F.relu(self.enc(x))
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        # fixed: return mu + eps * std
        return mu.data + eps * std.data  # broken

    def decode(self, z):
        return self.dec2(F.relu(self.dec1(z)))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def elbo(logits, x, mu, logvar):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (reconstruction + kl) / len(x)


def step(model, optimizer, x):
    optimizer.zero_grad()
    logits, mu, logvar = model(x)
    loss = elbo(logits, x, mu, logvar)
    loss.backward()
    optimizer.step()
    return loss.detach()


def practice():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return step, model, optimizer, list(x[torch.randperm(len(x))].split(64))
