# corpus: set=tuned mistake=shifted_labels
# why: codes 1 and 2 where the loss wants 0 and 1: it falls below zero
"""Tumour classes as the hospital's spreadsheet codes them: 1 benign, 2 malignant."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Spreadsheet(Dataset):
    def __init__(self, table):
        features, codes = table[:, :-1], table[:, -1]
        features = (features - features.mean(0)) / features.std(0)
        self.x = torch.from_numpy(features).float()
        # fixed: self.y = torch.from_numpy(codes - 1).float()
        self.y = torch.from_numpy(codes).float()  # broken

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def read_table():
    data = load_breast_cancer()
    code = np.where(data.target == 1, 1, 2)
    return np.column_stack([data.data, code])


def main():
    torch.manual_seed(0)
    loader = DataLoader(Spreadsheet(read_table()), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(5):
        total = 0
        for x, y in loader:
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"{epoch}: {total / len(loader):.3f}")
