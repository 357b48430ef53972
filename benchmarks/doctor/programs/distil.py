# corpus: set=tuned mistake=softmax_before_cross_entropy
# why: the hard part of the loss takes a softmax of a softmax
"""A small student learns digits from labels and from a larger teacher (Hinton et al. 2015)."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

T, ALPHA = 3.0, 0.5


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(64, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def distillation_loss(student_logits, teacher_logits, labels):
    soft = F.kl_div(
        F.log_softmax(student_logits / T, dim=1),
        F.softmax(teacher_logits / T, dim=1),
        reduction="batchmean",
    )
    probabilities = F.softmax(student_logits, dim=1)
    # fixed: hard = F.cross_entropy(student_logits, labels)
    hard = F.cross_entropy(probabilities, labels)  # broken
    return ALPHA * T * T * soft + (1 - ALPHA) * hard


def train_teacher(x, y):
    teacher = Net(128)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(teacher(x[rows]), y[rows]).backward()
        optimizer.step()
    return teacher.eval()


def practice():
    torch.manual_seed(0)
    data = load_digits()
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    y = torch.tensor(data.target)
    teacher = train_teacher(x, y)
    student = Net(32)

    def step(model, optimizer, batch):
        inputs, labels = batch
        with torch.no_grad():
            targets = teacher(inputs)
        loss = distillation_loss(model(inputs), targets, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    batches = [(x[rows], y[rows]) for rows in torch.randperm(len(x)).split(64)]
    return step, student, optimizer, batches
