# corpus: set=tuned mistake=item_in_path also=detach_in_path
# why: the second task's loss is a plain number, and its head is never trained
"""One trunk, two tasks: which digit, and how much ink."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.digit = nn.Linear(64, 10)
        self.ink = nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return {"digit": self.digit(h), "ink": self.ink(h).squeeze(1)}


class Losses:
    def __init__(self, weights):
        self.weights = weights
        self.log = {"digit": [], "ink": []}

    def digit(self, out, batch):
        return F.cross_entropy(out["digit"], batch["digit"])

    def ink(self, out, batch):
        return F.mse_loss(out["ink"], batch["ink"])

    def __call__(self, out, batch):
        digit = self.digit(out, batch)
        # fixed: ink = self.ink(out, batch)
        # fixed: self.log["digit"].append(digit.item())
        # fixed: self.log["ink"].append(ink.item())
        ink = self.ink(out, batch).item()  # broken
        self.log["digit"].append(digit.item())  # broken
        self.log["ink"].append(ink)  # broken
        return self.weights["digit"] * digit + self.weights["ink"] * ink


def practice():
    torch.manual_seed(0)
    data = load_digits()
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    ink = x.sum(1)
    ink = (ink - ink.mean()) / ink.std()
    label = torch.tensor(data.target)
    losses = Losses({"digit": 1.0, "ink": 0.5})

    def step(model, optimizer, batch):
        optimizer.zero_grad()
        loss = losses(model(batch["x"]), batch)
        loss.backward()
        optimizer.step()
        return loss.item()

    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rows = torch.randperm(len(x)).split(64)
    return step, model, optimizer, [{"x": x[r], "digit": label[r], "ink": ink[r]} for r in rows]
