# corpus: set=tuned mistake=schedule_before_step
# why: a callback at the batch's start moves the schedule on before the first step
"""A module with training_step and configure_optimizers, and a loop with callbacks."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR


class Tumours(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return optimizer, CosineAnnealingLR(optimizer, T_max=90)


class LearningRate:
    """Moves the schedule on, and keeps what the rate was."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.rates = []

    def on_train_batch_start(self):
        self.scheduler.step()
        self.rates.append(self.scheduler.get_last_lr()[0])


class Loop:
    def __init__(self, max_epochs=10):
        self.max_epochs = max_epochs
        self.callbacks = []

    def fit(self, module, batches):
        optimizer, scheduler = module.configure_optimizers()
        self.callbacks.append(LearningRate(scheduler))
        for _ in range(self.max_epochs):
            for i, batch in enumerate(batches):
                for callback in self.callbacks:  # broken
                    callback.on_train_batch_start()  # broken
                loss = module.training_step(batch, i)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                # fixed: for callback in self.callbacks:
                # fixed:     callback.on_train_batch_start()


def main():
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
    y = torch.tensor(y)
    rows = torch.randperm(len(x)).split(64)
    Loop().fit(Tumours(), [(x[r], y[r]) for r in rows])
