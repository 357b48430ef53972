# corpus: set=tuned mistake=none
"""Gradient accumulation, with the last incomplete group of an epoch seen to."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ACCUMULATE = 4


def main():
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(
        torch.tensor(digits.data / 16.0, dtype=torch.float32), torch.tensor(digits.target)
    )
    loader = DataLoader(data, batch_size=16, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(3):
        optimizer.zero_grad()
        running = 0.0
        for i, (x, y) in enumerate(loader):
            group_start = i - i % ACCUMULATE
            group = min(ACCUMULATE, len(loader) - group_start)
            loss = F.cross_entropy(model(x), y) / group
            loss.backward()
            running += loss.item()
            if (i + 1) % ACCUMULATE == 0 or i + 1 == len(loader):
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                history.append(running)
                running = 0.0
    return history
