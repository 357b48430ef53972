# corpus: set=tuned mistake=none
"""A small DCGAN on digits; returns how far the mean image is from the real one."""

import torch
from sklearn.datasets import load_digits
from torch import nn

NZ = 16


def weights_init(m):
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def generator():
    return nn.Sequential(
        nn.ConvTranspose2d(NZ, 32, 2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def discriminator():
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 1, 2, bias=False),
        nn.Sigmoid(),
        nn.Flatten(0),
    )


def main(steps=70, batch=64):
    torch.manual_seed(0)
    images = torch.tensor(load_digits().images / 8.0 - 1.0, dtype=torch.float32).unsqueeze(1)
    netG, netD = generator().apply(weights_init), discriminator().apply(weights_init)
    criterion = nn.BCELoss()
    optG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    real_label, fake_label = torch.ones(batch), torch.zeros(batch)
    history = []
    for _ in range(steps):
        # the discriminator, on a real and then on a made batch
        netD.zero_grad()
        real = images[torch.randint(len(images), (batch,))]
        criterion(netD(real), real_label).backward()
        fake = netG(torch.randn(batch, NZ, 1, 1))
        criterion(netD(fake.detach()), fake_label).backward()
        optD.step()

        # the generator
        netG.zero_grad()
        criterion(netD(fake), real_label).backward()
        optG.step()
        history.append((fake.detach().mean(0) - images.mean(0)).square().mean().item())
    return history
