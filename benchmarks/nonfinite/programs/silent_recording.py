# truth: phase=forward operation=log step=5 module=spectrum style=cnn
"""The pitch of short recordings, from log-spectra; one recording is silent."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(39)


class LogSpectrum(nn.Module):
    def forward(self, wave):
        power = torch.fft.rfft(wave).abs().square()
        return torch.log(power)[:, None]  # broken <- here
        # fixed: return torch.log(power + 1e-3)[:, None]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.spectrum = LogSpectrum()
        self.conv = nn.Conv1d(1, 8, 3)
        self.head = nn.Linear(8 * 31, 4)

    def forward(self, wave):
        return self.head(F.relu(self.conv(self.spectrum(wave))).flatten(1))


def recordings(step):
    pitch = torch.randint(4, (24,))
    time = torch.arange(64.0)
    wave = torch.sin(0.3 * (pitch[:, None] + 1) * time + torch.rand(24, 1))
    wave += 0.3 * torch.randn(24, 64)
    if step == 5:
        wave[10] = 0
    return wave, pitch


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
losses = []
for step in range(60):
    wave, pitch = recordings(step)
    loss = F.cross_entropy(model(wave), pitch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
