# corpus: set=tuned mistake=shifted_labels
# why: the first frame is cut off and its label is not
"""Frames of a recording, each with the label of the sound in it; a 1-d conv net."""

import math

import torch
from torch import nn

FRAME, HOP = 32, 32
PITCHES = torch.tensor([0.2, 0.5, 0.9, 1.4])


def recording(n_frames):
    labels = torch.randint(len(PITCHES), (n_frames,))
    t = torch.arange(FRAME)
    phase = 2 * math.pi * torch.rand(n_frames, 1)
    signal = torch.sin(PITCHES[labels].unsqueeze(1) * t + phase).flatten()
    return signal + 0.1 * torch.randn_like(signal), labels


def frames_and_labels(signal, labels):
    frames = signal.unfold(0, FRAME, HOP)
    frames = frames[1:]  # the first frame is cut off by the fade-in
    # fixed: return frames.unsqueeze(1), labels[1:]
    return frames.unsqueeze(1), labels[: len(frames)]  # broken


class PitchNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 9, padding=4)
        self.conv2 = nn.Conv1d(16, 16, 5, padding=2)
        self.fc = nn.Linear(16, len(PITCHES))

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = torch.relu(self.conv2(x))
        return self.fc(x.mean(-1))


def main():
    torch.manual_seed(0)
    x, y = frames_and_labels(*recording(1600))
    model = PitchNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.3f}")
