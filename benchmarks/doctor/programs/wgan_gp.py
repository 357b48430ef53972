# corpus: set=tuned mistake=none
"""A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017) on a ring.

Returns how far the made radius is from the ring's.
"""

import math

import torch
from torch import autograd, nn

LAMBDA, CRITIC_STEPS, RADIUS = 1.0, 3, 1.5


def ring(n):
    angle = 2 * math.pi * torch.rand(n)
    points = RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)
    return points + 0.05 * torch.randn(n, 2)


def gradient_penalty(critic, real, fake):
    mix = torch.rand(len(real), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (grad,) = autograd.grad(critic(between).sum(), between, create_graph=True)
    return LAMBDA * ((grad.norm(2, dim=1) - 1) ** 2).mean()


def mlp(n_in, n_out):
    return nn.Sequential(
        nn.Linear(n_in, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, n_out)
    )


def main(steps=80, n=64):
    torch.manual_seed(0)
    generator, critic = mlp(4, 2), mlp(2, 1)
    opt_g = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    history = []
    for _ in range(steps):
        for _ in range(CRITIC_STEPS):
            real = ring(n)
            with torch.no_grad():
                fake = generator(torch.randn(n, 4))
            opt_c.zero_grad()
            loss = critic(fake).mean() - critic(real).mean()
            (loss + gradient_penalty(critic, real, fake)).backward()
            opt_c.step()

        for p in critic.parameters():
            p.requires_grad = False
        opt_g.zero_grad()
        fake = generator(torch.randn(n, 4))
        (-critic(fake).mean()).backward()
        opt_g.step()
        for p in critic.parameters():
            p.requires_grad = True
        history.append((fake.detach().norm(dim=1) - RADIUS).square().mean().item())
    return history
