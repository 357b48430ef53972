# corpus: set=tuned mistake=none
"""A student learns from labels and a frozen teacher; sums, each divided by the batch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

T, ALPHA = 2.0, 0.7


class Distiller(nn.Module):
    def __init__(self, student, teacher):
        super().__init__()
        self.student = student
        self.teacher = teacher.eval().requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            soft = (self.teacher(x) / T).softmax(1)
        return self.student(x), soft


def step(model, optimizer, batch):
    x, y = batch
    model.student.train()
    logits, soft = model(x)
    hard_loss = F.cross_entropy(logits, y, reduction="sum") / len(x)
    soft_loss = F.kl_div((logits / T).log_softmax(1), soft, reduction="batchmean") * T**2
    optimizer.zero_grad()
    (ALPHA * soft_loss + (1 - ALPHA) * hard_loss).backward()
    optimizer.step()
    return hard_loss.item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    first = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for rows in torch.randperm(len(x)).split(32):
        first.zero_grad()
        F.cross_entropy(teacher(x[rows]), y[rows]).backward()
        first.step()
    model = Distiller(nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)), teacher)
    optimizer = torch.optim.Adam(model.student.parameters(), lr=3e-3)
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
