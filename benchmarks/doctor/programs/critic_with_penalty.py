# corpus: set=unseen mistake=none
"""A Wasserstein GAN with gradient penalty on points around a ring."""

import math

import torch
from torch import nn


def ring(n, g):
    angle = 2 * math.pi * torch.rand(n, generator=g)
    radius = 1 + 0.05 * torch.randn(n, generator=g)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def mlp(d_in, d_out):
    return nn.Sequential(
        nn.Linear(d_in, 32),
        nn.LeakyReLU(0.2),
        nn.Linear(32, 32),
        nn.LeakyReLU(0.2),
        nn.Linear(32, d_out),
    )


def penalty(critic, real, fake):
    mix = torch.rand(len(real), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    generator, critic = mlp(4, 2), mlp(2, 1)
    opt_g = torch.optim.Adam(generator.parameters(), lr=4e-3, betas=(0.5, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=4e-3, betas=(0.5, 0.9))
    off_ring = []
    for _ in range(250):
        for _ in range(3):
            real = ring(64, g)
            fake = generator(torch.randn(64, 4)).detach()
            loss_c = critic(fake).mean() - critic(real).mean() + penalty(critic, real, fake)
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        critic.requires_grad_(False)
        fake = generator(torch.randn(64, 4))
        loss_g = -critic(fake).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        critic.requires_grad_(True)
        off_ring.append((fake.detach().norm(dim=1) - 1).abs().mean().item())
    return off_ring
