# corpus: set=tuned mistake=layer_replaced also=missing_parameters
# why: the optimiser holds the layer that was thrown away
"""The digits network of last week, now for odd and even only."""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.fc = nn.Linear(32, n_classes)

    def forward(self, x):
        return self.fc(self.body(x))


def setup(config):
    model = Net(config["classes"])
    optimizer = optim.Adam(model.parameters(), lr=config["lr"])  # broken
    if config["task"] == "parity":
        model.fc = nn.Linear(model.fc.in_features, 2)
    # fixed: optimizer = optim.Adam(model.parameters(), lr=config["lr"])
    return model, optimizer


def main():
    torch.manual_seed(0)
    config = {"classes": 10, "lr": 1e-3, "task": "parity", "epochs": 4}
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target % 2)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)

    model, optimizer = setup(config)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(config["epochs"]):
        right = 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            right += (outputs.argmax(1) == labels).sum().item()
        print(f"epoch {epoch}: accuracy {right / len(x):.3f}")
