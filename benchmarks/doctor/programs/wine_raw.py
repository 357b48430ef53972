# corpus: set=tuned mistake=unscaled_inputs
# why: the scaled table is made and not used
"""Wine cultivars from thirteen chemical measurements."""

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn


def prepare():
    data = load_wine()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.25, random_state=0, stratify=data.target
    )
    scaler = StandardScaler().fit(x_train)
    x_test_scaled = scaler.transform(x_test)
    x_train_scaled = scaler.transform(x_train)
    assert x_train_scaled.shape[1] == x_test_scaled.shape[1]
    # fixed: train = torch.tensor(x_train_scaled, dtype=torch.float32), torch.tensor(y_train)
    # fixed: test = torch.tensor(x_test_scaled, dtype=torch.float32), torch.tensor(y_test)
    train = torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train)  # broken
    test = torch.tensor(x_test, dtype=torch.float32), torch.tensor(y_test)  # broken
    return train, test


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(13, 32)
        self.fc2 = nn.Linear(32, 16)
        self.fc3 = nn.Linear(16, 3)

    def forward(self, x):
        x = torch.sigmoid(self.fc1(x))
        x = torch.sigmoid(self.fc2(x))
        return self.fc3(x)


def step(model, optimizer, batch):
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    (x, y), _ = prepare()
    model = WineNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = [(x[r], y[r]) for _ in range(6) for r in torch.randperm(len(x)).split(32)]
    return step, model, optimizer, batches
