# corpus: set=unseen mistake=kept_graph
# why: the smoothed loss refers to the graph of every batch so far
"""A denoising autoencoder whose progress line shows a smoothed loss."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Progress:
    """An exponential average, as progress bars show it."""

    def __init__(self, beta=0.98):
        self.beta = beta
        self.average = 0.0
        self.count = 0

    def add(self, value):
        self.count += 1
        self.average = self.beta * self.average + (1 - self.beta) * value
        return self

    def __str__(self):
        return f"{float(self.average / (1 - self.beta**self.count)):.4f}"


class Denoiser(nn.Module):
    def __init__(self, pixels=64, code=16):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(pixels, 40), nn.ReLU(), nn.Linear(40, code))
        self.decode = nn.Sequential(nn.Linear(code, 40), nn.ReLU(), nn.Linear(40, pixels))

    def forward(self, x):
        return self.decode(self.encode(x))


def main():
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    progress = Progress()
    losses = []
    for epoch in range(5):
        for rows in torch.randperm(len(x)).split(64):
            clean = x[rows]
            restored = model(clean + 0.2 * torch.randn_like(clean))
            loss = nn.functional.mse_loss(restored, clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            # fixed: progress.add(loss.detach())
            progress.add(loss)  # broken
            losses.append(loss.item())
        print(epoch, progress)
    return losses
