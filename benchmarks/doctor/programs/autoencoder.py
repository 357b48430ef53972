# corpus: set=tuned mistake=missing_parameters
# why: the encoder is in no group of the optimiser
"""A denoising autoencoder of digits, encoder and decoder in two modules."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Autoencoder(nn.Module):
    def __init__(self, latent=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid()
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


def get_optimizer(model, name="adam", lr=2e-3):
    # fixed: params = [p for _, p in model.named_parameters()]
    params = [p for n, p in model.named_parameters() if n.startswith("decoder")]  # broken
    if name == "adam":
        return torch.optim.Adam(params, lr=lr)
    return torch.optim.SGD(params, lr=lr)


def denoise(model, optimizer, clean):
    noisy = clean + 0.2 * torch.randn_like(clean)
    loss = nn.functional.mse_loss(model(noisy), clean)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    model = Autoencoder()
    return denoise, model, get_optimizer(model), list(x[torch.randperm(len(x))].split(64))
