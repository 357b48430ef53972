# corpus: set=unseen mistake=none
"""A student learns from a teacher's soft answers as well as from the labels."""

import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F


def teacher_from(x, y):
    """Train a wide network elsewhere, and bring it over."""
    source = MLPClassifier((96,), max_iter=300, tol=1e-3, random_state=0).fit(x, y)
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    with torch.no_grad():
        layers = zip((net[0], net[2]), source.coefs_, source.intercepts_, strict=True)
        for layer, weight, bias in layers:
            layer.weight.copy_(torch.tensor(weight.T))
            layer.bias.copy_(torch.tensor(bias))
    return net.eval().requires_grad_(False)


def distillation(student, teacher, labels, temperature=3.0, share=0.7):
    soft = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return share * temperature**2 * soft + (1 - share) * F.cross_entropy(student, labels)


def main():
    torch.manual_seed(0)
    digits = load_digits()
    pixels = digits.data[:1200] / 16
    teacher = teacher_from(pixels, digits.target[:1200])
    x = torch.tensor(pixels, dtype=torch.float32)
    y = torch.tensor(digits.target[:1200])
    student = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        for rows in torch.randperm(1200).split(80):
            with torch.no_grad():
                soft = teacher(x[rows])
            loss = distillation(student(x[rows]), soft, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
