# corpus: set=unseen mistake=no_zero_grad also=learning_rate
# why: gradients are cleared once per epoch, not per update
"""A runner that knows nothing of training: callbacks do the work."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale
from torch import nn


class Callback:
    def epoch_begin(self, runner): ...
    def batch_begin(self, runner): ...
    def batch_end(self, runner): ...
    def epoch_end(self, runner): ...


class OptimizerCallback(Callback):
    def __init__(self, optimizer):
        self.optimizer = optimizer

    # fixed: def batch_begin(self, runner):
    def epoch_begin(self, runner):  # broken
        self.optimizer.zero_grad()

    def batch_end(self, runner):
        runner.loss.backward()
        self.optimizer.step()


class HistoryCallback(Callback):
    def __init__(self):
        self.losses = []

    def batch_end(self, runner):
        self.losses.append(runner.loss.item())

    def epoch_end(self, runner):
        print(f"epoch {runner.epoch} loss {self.losses[-1]:.3f}")


class Runner:
    def __init__(self, model, criterion, callbacks):
        self.model, self.criterion, self.callbacks = model, criterion, callbacks

    def notify(self, event):
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def run(self, x, y, epochs, batch_size=32):
        for self.epoch in range(epochs):
            self.notify("epoch_begin")
            for rows in torch.randperm(len(x)).split(batch_size):
                self.notify("batch_begin")
                self.loss = self.criterion(self.model(x[rows]), y[rows])
                self.notify("batch_end")
            self.notify("epoch_end")


def main():
    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(scale(x), dtype=torch.float32)
    y = torch.tensor(scale(y), dtype=torch.float32).reshape(-1, 1)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    history = HistoryCallback()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    runner = Runner(model, nn.MSELoss(), [OptimizerCallback(optimizer), history])
    runner.run(x, y, epochs=8)
    return history.losses
