# corpus: set=tuned mistake=missing_parameters
# why: the projector is a separate module, and is never trained
"""Contrastive learning (NT-Xent) of digits without labels."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

TEMPERATURE = 0.2
STEPS = 80


class Encoder(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.fc = nn.Linear(32 * 16, dim)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return F.relu(self.fc(x.flatten(1)))


def augment(x):
    shift = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(x, shift, dims=(2, 3)) + 0.1 * torch.randn_like(x)


def nt_xent(a, b):
    z = F.normalize(torch.cat([a, b]), dim=1)
    similarity = z @ z.T / TEMPERATURE
    similarity.fill_diagonal_(float("-inf"))
    n = len(a)
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(similarity, partner)


def main():
    torch.manual_seed(0)
    images = torch.tensor(load_digits().images / 16.0, dtype=torch.float32).unsqueeze(1)

    encoder = Encoder()
    projector = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    # fixed: weights = [*encoder.parameters(), *projector.parameters()]
    # fixed: optimizer = torch.optim.Adam(weights, lr=1e-3, weight_decay=1e-6)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3, weight_decay=1e-6)  # broken

    for step in range(STEPS):
        x = images[torch.randint(len(images), (64,))]
        loss = nt_xent(projector(encoder(augment(x))), projector(encoder(augment(x))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: {loss.item():.3f}")
