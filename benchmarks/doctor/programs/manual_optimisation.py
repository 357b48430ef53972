# corpus: set=tuned mistake=none
"""A module that optimises by hand: two optimisers; each step enables the parameters of one."""

import contextlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class AdversarialAutoencoder(nn.Module):
    def __init__(self, latent=4):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 48), nn.ReLU(), nn.Linear(48, 64))
        self.critic = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 1))

    def configure_optimizers(self):
        auto = [*self.encoder.parameters(), *self.decoder.parameters()]
        return torch.optim.Adam(auto, lr=2e-3), torch.optim.Adam(self.critic.parameters(), lr=2e-3)

    @contextlib.contextmanager
    def toggled(self, optimizer):
        mine = {p for group in optimizer.param_groups for p in group["params"]}
        others = [p for p in self.parameters() if p not in mine]
        for p in others:
            p.requires_grad_(False)
        yield
        for p in others:
            p.requires_grad_(True)

    def training_step(self, x, optimizers):
        opt_auto, opt_critic = optimizers
        n = len(x)
        with self.toggled(opt_auto):
            z = self.encoder(x)
            reconstruction = F.mse_loss(self.decoder(z), x)
            fool = F.binary_cross_entropy_with_logits(self.critic(z), torch.ones(n, 1))
            opt_auto.zero_grad()
            (reconstruction + 0.01 * fool).backward()
            opt_auto.step()
        with self.toggled(opt_critic):
            z = self.encoder(x).detach()
            scores = self.critic(torch.cat([torch.randn(n, self.latent), z]))
            truth = torch.cat([torch.ones(n, 1), torch.zeros(n, 1)])
            opt_critic.zero_grad()
            F.binary_cross_entropy_with_logits(scores, truth).backward()
            opt_critic.step()
        return {"reconstruction": reconstruction.detach()}


def main():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    module = AdversarialAutoencoder()
    optimizers = module.configure_optimizers()
    history = []
    for _ in range(3):
        for rows in torch.randperm(len(x)).split(64):
            logs = module.training_step(x[rows], optimizers)
            history.append(logs["reconstruction"].item())
    return history
