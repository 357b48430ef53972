# corpus: set=tuned mistake=kept_graph
# why: every loss is kept with its graph
"""Three cultivars of wine, with a Trainer class."""

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    def __init__(self, model, optimizer, criterion, epochs=20):
        self.model = model
        self.optimizer = optimizer
        self.criterion = criterion
        self.epochs = epochs
        self.losses = []

    def train_step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        # fixed: self.losses.append(loss.item())
        self.losses.append(loss)  # broken

    def mean_loss(self, last):
        return sum(self.losses[-last:]) / last

    def fit(self, loader):
        self.model.train()
        for epoch in range(self.epochs):
            for x, y in loader:
                self.train_step(x, y)
            if epoch % 5 == 0:
                print(f"epoch {epoch:3d}  loss {self.mean_loss(len(loader)):.4f}")
        return self


def main():
    torch.manual_seed(1)
    x, y = load_wine(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    trainer = Trainer(
        model,
        torch.optim.Adam(model.parameters(), lr=3e-3),
        nn.CrossEntropyLoss(),
    )
    trainer.fit(DataLoader(data, batch_size=32, shuffle=True, drop_last=True))
