# corpus: set=unseen mistake=detach_in_path
# why: the spectrum is numpy's, so the filters never learn
"""Which machine made the sound: learned filters, then the spectrum, then a classifier."""

import numpy as np
import torch
from torch import nn


def recordings(n=600, length=64, seed=0):
    rng = np.random.default_rng(seed)
    machine = rng.integers(0, 4, n)
    t = np.arange(length)
    frequency = np.array([4, 6, 8, 10])[machine][:, None]
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    sound = np.sin(2 * np.pi * frequency * t / length + phase)
    sound = sound + rng.normal(0, 1.5, (n, length))
    return sound.astype(np.float32), machine


class SpectralNet(nn.Module):
    def __init__(self, filters=6, classes=4):
        super().__init__()
        self.filters = nn.Conv1d(1, filters, 9, padding=4)
        self.classify = nn.Sequential(
            nn.Linear(filters * 33, 32), nn.ReLU(), nn.Linear(32, classes)
        )

    def spectrum(self, h):
        # fixed: return torch.fft.rfft(h, dim=-1).abs() / 8
        power = np.abs(np.fft.rfft(h.detach().numpy(), axis=-1)) / 8  # broken
        return torch.from_numpy(power.astype(np.float32))  # broken

    def forward(self, sound):
        h = torch.tanh(self.filters(sound.unsqueeze(1)))
        return self.classify(self.spectrum(h).flatten(1))


def main():
    torch.manual_seed(0)
    sound, machine = (torch.from_numpy(a) for a in recordings())
    model = SpectralNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for epoch in range(8):
        model.train()
        for rows in torch.randperm(500).split(50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(sound[rows]), machine[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            hits = (model(sound[500:]).argmax(1) == machine[500:]).float().mean()
        print(f"{epoch} {losses[-1]:.3f} {hits:.2f}")
    return losses
