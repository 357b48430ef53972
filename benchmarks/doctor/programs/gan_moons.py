# corpus: set=tuned mistake=no_zero_grad
# why: the wrong optimiser: the generator's gradients are never cleared
"""A generative adversarial network that learns the two moons."""

import torch
from sklearn.datasets import make_moons
from torch import nn

LATENT = 8
STEPS = 150


def mlp(n_in, n_out):
    return nn.Sequential(
        nn.Linear(n_in, 64),
        nn.LeakyReLU(0.2),
        nn.Linear(64, 64),
        nn.LeakyReLU(0.2),
        nn.Linear(64, n_out),
    )


def main():
    torch.manual_seed(2)
    points, _ = make_moons(2048, noise=0.05, random_state=0)
    points = torch.tensor(points, dtype=torch.float32)
    points = (points - points.mean(0)) / points.std(0)

    G = mlp(LATENT, 2)
    D = mlp(2, 1)
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    for it in range(STEPS):
        real = points[torch.randint(len(points), (128,))]
        ones = torch.ones(len(real), 1)
        zeros = torch.zeros(len(real), 1)

        # discriminator
        opt_d.zero_grad()
        fake = G(torch.randn(len(real), LATENT))
        d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()

        # generator
        # fixed: opt_g.zero_grad()
        opt_d.zero_grad()  # broken
        g_loss = bce(D(fake), ones)
        g_loss.backward()
        opt_g.step()

        if it % 50 == 0:
            print(f"{it}: D {d_loss.item():.3f}  G {g_loss.item():.3f}")
