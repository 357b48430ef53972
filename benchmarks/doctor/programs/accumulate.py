# corpus: set=tuned mistake=undivided_accumulation
# why: eight micro-batches are added and none is divided by eight
"""Gradient accumulation: batches of 128 in a memory for 16."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

ACCUMULATION_STEPS = 8


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


def main(epochs=3):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(digits.target)

    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(epochs):
        optimizer.zero_grad()
        total = 0.0
        micro_batches = torch.randperm(len(x))[:1792].split(16)
        for i, rows in enumerate(micro_batches):
            # fixed: loss = F.cross_entropy(model(x[rows]), y[rows]) / ACCUMULATION_STEPS
            loss = F.cross_entropy(model(x[rows]), y[rows])  # broken
            loss.backward()
            total += loss.item()
            if (i + 1) % ACCUMULATION_STEPS == 0:
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: {total / len(micro_batches):.3f}")
