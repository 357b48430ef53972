# corpus: set=tuned mistake=none
"""Two tasks weighted by learnt uncertainties (Kendall et al. 2018)."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.classify = nn.Linear(64, 10)
        self.regress = nn.Linear(64, 1)
        self.log_var = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        h = self.trunk(x)
        return self.classify(h), self.regress(h)

    def loss(self, x, label, ink):
        logits, guess = self(x)
        losses = torch.stack([F.cross_entropy(logits, label), F.mse_loss(guess, ink)])
        return (torch.exp(-self.log_var) * losses + 0.5 * self.log_var).sum(), losses.detach()


def step(model, optimizer, batch):
    optimizer.zero_grad()
    loss, parts = model.loss(**batch)
    loss.backward()
    optimizer.step()
    return parts.sum().item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    label = torch.tensor(digits.target)
    ink = x.sum(1, keepdim=True)
    ink = (ink - ink.mean()) / ink.std()
    model = MultiTask()
    others = [p for n, p in model.named_parameters() if n != "log_var"]
    optimizer = torch.optim.Adam(
        [{"params": others}, {"params": [model.log_var], "lr": 1e-2}], lr=1e-3
    )
    rows = torch.randperm(len(x)).split(64)
    return step, model, optimizer, [{"x": x[r], "label": label[r], "ink": ink[r]} for r in rows]
