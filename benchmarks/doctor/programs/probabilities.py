# corpus: set=tuned mistake=none
"""Probabilities out of the model where the loss wants them: BCELoss, and NLLLoss of log_softmax."""

import torch
from sklearn.datasets import load_digits
from torch import nn


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 48), nn.Tanh())
        self.digit = nn.Sequential(nn.Linear(48, 10), nn.LogSoftmax(dim=1))
        self.odd = nn.Sequential(nn.Linear(48, 1), nn.Sigmoid())

    def forward(self, x):
        h = self.trunk(x)
        return self.digit(h), self.odd(h)


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    nll, bce = nn.NLLLoss(), nn.BCELoss()
    model = TwoOutputs()

    def step(model, optimizer, batch):
        inputs, label = batch
        model.zero_grad()
        log_probabilities, odd = model(inputs)
        loss = nll(log_probabilities, label) + bce(odd, (label % 2).float().view(-1, 1))
        loss.backward()
        optimizer.step()
        return loss.item()

    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.02)
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
